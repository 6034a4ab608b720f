#!/bin/sh
# The work that wants a GPU, one after the other: what this machine can run, the benchmarks at full size, nano's training.
# `make gpu PAIRS=folder` calls it. Exits with 2, before anything else, where there is no GPU.
set -eu
python="${VENV:-.venv}/bin/python"
realmaster="${VENV:-.venv}/bin/realmaster"

"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "make gpu: expected a CUDA GPU, torch sees none: run it on a machine with one" >&2
    exit 2
}
[ -d "${PAIRS:-pairs}" ] || {
    echo "make gpu: expected a folder of exact pairs at '${PAIRS:-pairs}', found none: make one with 'realmaster render'," \
        "then 'make gpu PAIRS=folder'" >&2
    exit 2
}

echo "== what this machine can run"
"$realmaster" doctor
for file in benchmarks/*.py; do
    echo "== $file"
    "$python" "$file" --device cuda
done
echo "== training nano on $PAIRS"
"$realmaster" nano train --pairs "$PAIRS" --output runs/nano-gpu --recipe recipes/nano-gpu.yaml
