#!/bin/sh
# The work that wants a GPU: what this machine can run, the tests of it, the benchmarks at full size, nano's training.
# `make gpu` calls it. Exits with 2, before anything else, where there is no GPU; with 1 at the end if a part failed.
#   PARTS   which of: doctor tests sizes nano; all by default
#   PAIRS   folder of exact pairs; without one nano's training is left out
#   BUDGET  seconds for the benchmark of the full size, 900 by default; cases that would begin later are recorded as
#           skipped, and another run on the same day goes on with them
#   RESULTS folder for the results instead of benchmarks/results and runs
#   PYTHON  where there is no virtual environment: a Python that finds torch, diffusers, transformers, peft, accelerate,
#           pydantic, click, PyYAML, av and opencv-python-headless; on a machine without a network for example in wheels
#           that were carried there and are named in PYTHONPATH. Call this file then: `make gpu` wants to install.
set -eu
cd "$(dirname "$0")/.."
python="${VENV:-.venv}/bin/python"
if [ ! -x "$python" ]; then
    python="${PYTHON:-python3}"
    PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONPATH
fi
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"
realmaster() {
    "$python" -c 'import sys; from realmaster.cli.main import main; sys.exit(main())' "$@"
}
failed=""
part() { # name, command: one that fails does not take the others with it
    case " ${PARTS:-doctor tests sizes nano} " in *" $1 "*) ;; *) return 0 ;; esac
    echo "== $1"
    name="$1"
    shift
    "$@" || failed="$failed $name"
}
doctor() {
    realmaster doctor || echo "(some of it is missing here)"
    realmaster plan assets/demo/street.mp4 --profile wan2.2-a14b || echo "(see which settings help)"
}
nano() {
    if [ ! -d "${PAIRS:-pairs}" ]; then
        echo "(no folder of exact pairs at '${PAIRS:-pairs}': nano is not trained; make one with 'realmaster render')"
        return 0
    fi
    realmaster nano train --pairs "${PAIRS:-pairs}" --output "${RESULTS:-runs}/nano-gpu" --recipe recipes/nano-gpu.yaml
}

"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "make gpu: expected a CUDA GPU, torch sees none: run it on a machine with one" >&2
    exit 2
}
part doctor doctor
part tests "$python" -m pytest -q tests/models/test_reference_cache.py
part sizes "$python" benchmarks/full_size.py --device cuda --budget "${BUDGET:-900}" ${RESULTS:+--output "$RESULTS"}
part nano nano
[ -z "$failed" ] || {
    echo "make gpu: these parts failed:$failed" >&2
    exit 1
}
