"""`python -m realmaster` is the program `realmaster`."""

from realmaster.cli.main import run

if __name__ == "__main__":
    run()
