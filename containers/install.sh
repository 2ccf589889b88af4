#!/bin/sh
# What both recipes put into a Debian 12 image with Python: the compiler that torch.compile calls,
# git for the commit in every result, and the pinned packages. Run in the folder of requirements.txt.
set -eu

apt-get update
apt-get install --yes --no-install-recommends g++ git
rm -rf /var/lib/apt/lists/*

# The mounted checkout belongs to another user than the container's.
git config --system --add safe.directory '*'

python3 -m pip install --no-cache-dir --root-user-action ignore \
    -r requirements.txt -r requirements-inception.txt -r requirements-datasets.txt
