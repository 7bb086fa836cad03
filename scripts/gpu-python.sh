#!/bin/sh
# gpu-python.sh PYTHON WHEELS ARGUMENTS...: PYTHON with its own torch, on a machine with a CUDA device and no environment.
# What else is missing comes from the folder WHEELS, which `make wheels` fills; no network is needed.
set -eu
python=$1
wheels=$2
shift 2
site=build/gpu-packages

if ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "$python sees no CUDA device (or has no torch): what needs one will be skipped, or refuse." >&2
fi
missing=$("$python" - <<'PY'
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
for need in [*project["dependencies"], "pytest", "hypothesis"]:
    name = re.match(r"[\w.-]+", need).group()
    try:
        version(name)
    except PackageNotFoundError:
        print(name)
PY
)
if [ -n "$missing" ]; then
    if [ ! -d "$wheels" ]; then
        echo "missing:" $missing >&2
        echo "Run \`make wheels\` where there is a network, and bring the folder $wheels along." >&2
        exit 2
    fi
    # Beside the packages of PYTHON, not instead of them: its torch knows this machine's driver.
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --upgrade --target "$site" "$wheels"/*.whl
fi
export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 PYTHONPATH="$PWD/src:$PWD/$site"
"$python" -c 'import torch; d = torch.cuda.is_available(); print("torch", torch.__version__, "on", torch.cuda.get_device_name() if d else "no GPU")'
exec "$python" "$@"
