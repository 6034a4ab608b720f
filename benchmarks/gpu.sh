#!/bin/sh
# The work that wants a GPU, one after the other: what this machine can run, the benchmarks at full size, nano's training.
# `make gpu` calls it. Exits with 2, before anything else, where there is no GPU.
#   PAIRS   folder of exact pairs; without one nano's training is left out
#   BUDGET  seconds for the benchmark of the full size; cases that would begin later are recorded as skipped
#   PYTHON  where there is no virtual environment: a Python that finds torch, diffusers, peft and the other packages,
#           on a machine without a network for example in wheels that were carried there and are named in PYTHONPATH
set -eu
cd "$(dirname "$0")/.."
python="${VENV:-.venv}/bin/python"
if [ ! -x "$python" ]; then
    python="${PYTHON:-python3}"
    PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONPATH
fi
realmaster() {
    "$python" -c 'import sys; from realmaster.cli.main import main; sys.exit(main())' "$@"
}

"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "make gpu: expected a CUDA GPU, torch sees none: run it on a machine with one" >&2
    exit 2
}

echo "== what this machine can run"
realmaster doctor || echo "(some of it is missing here; the benchmarks need torch, diffusers, peft and accelerate only)"
realmaster plan assets/demo/street.mp4 --profile wan2.2-a14b || echo "(see which settings help)"
echo "== the full size"
"$python" benchmarks/full_size.py --device cuda ${BUDGET:+--budget "$BUDGET"}
echo "== the reference at its sizes"
"$python" benchmarks/reference.py --device cuda
if [ -d "${PAIRS:-pairs}" ]; then
    echo "== training nano on ${PAIRS:-pairs}"
    realmaster nano train --pairs "${PAIRS:-pairs}" --output runs/nano-gpu --recipe recipes/nano-gpu.yaml
else
    echo "(no folder of exact pairs at '${PAIRS:-pairs}': nano is not trained; make one with 'realmaster render')"
fi
