#!/bin/sh
# Whether what `make test` installs is there, as wheels, for each Python and platform that README
# names. Nothing is installed; asks the package index. With `pip install uv`: sh .ci/resolve.sh
set -u
cd "$(dirname "$0")/.."
export MACOSX_DEPLOYMENT_TARGET=14.0

# Published as source: pure Python, and for Python 3.14 immutables, which needs a C compiler there.
sources="fvcore iopath connection-pool immutables"
failed=0
for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do
    for python in 3.11 3.12 3.13 3.14; do
        # shellcheck disable=SC2046
        if uv pip compile --quiet --python-platform "$platform" --python-version "$python" \
            --only-binary :all: $(printf -- '--no-binary %s ' $sources) \
            requirements.txt requirements-dev.txt >/dev/null; then
            echo "Python $python on $platform: all there"
        else
            echo "Python $python on $platform: not to be installed, see above"
            failed=1
        fi
    done
done
exit $failed
