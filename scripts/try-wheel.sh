#!/bin/sh
# try-wheel.sh PYTHON DIST [FULL]: install the wheel in DIST into an empty environment, and use it as a stranger would,
# outside the checkout. With FULL the whole demo; else a small one, and a forecast.
set -eu
python=$1
dist=$(cd "$2" && pwd)
full=${3:-}
pins=$(cd "$(dirname "$0")/.." && pwd)/constraints.txt

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$pins" "$dist"/chandler_kronos-*.whl
cd "$folder"
export HF_HUB_OFFLINE=1
venv/bin/python - <<'PYTHON'
import chandler, pathlib, sys
assert pathlib.Path(chandler.__file__).is_relative_to(sys.prefix), chandler.__file__
PYTHON
venv/bin/chandler --version
if [ -n "$full" ]; then
    venv/bin/chandler demo --out demo
    test -s demo/evaluation/report.html
else
    venv/bin/chandler finetune "$(venv/bin/python -c 'import chandler, pathlib; print(pathlib.Path(chandler.__file__).parent / "assets/demo.yaml")')" \
        --out small --set data.windows_per_epoch=16 --set data.validation_stride=200 --set tokenizer.epochs=1 --set predictor.epochs=1
    test -s small/report.html
    venv/bin/chandler forecast chandler-stocks --model small --horizon 3 --paths 4 --out forecast.csv
    test -s forecast.csv
fi
echo "The wheel works outside the checkout."
