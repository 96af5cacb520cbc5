#!/usr/bin/env bash
# Brings an official client, as its lock file pins it, into .bin and says where
# it is. What is there already is not fetched again. The registries are those of
# the machine's own configuration. The Python packages of the verifier of audit
# reports (integration/interop) come the same way.
#
#   install.sh node|python|verifier
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bin=$(cd ../.. && pwd)/.bin

# place KIND FILE... names the folder after everything that decides its content.
place() {
	local kind=$1
	shift
	echo "$bin/clients-$kind-$(cat -- "$@" | sha256sum | cut -c 1-12)"
}

# finish DIR moves a whole installation to its place.
finish() {
	rm -rf -- "$1"
	mv -- "$1.new" "$1"
}

case ${1:-} in
node)
	command -v npm >/dev/null || { echo "there is no npm: install Node.js 20 or later" >&2; exit 1; }
	dir=$(place node node/package.json node/package-lock.json <(node --version))
	if [[ ! -d $dir ]]; then
		mkdir -p "$bin"
		rm -rf -- "$dir.new"
		mkdir -- "$dir.new"
		cp node/package.json node/package-lock.json "$dir.new/"
		npm ci --prefix "$dir.new" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
		finish "$dir"
	fi
	;;
python | verifier)
	requirements=python/requirements.txt
	[[ $1 == python ]] || requirements=../interop/verifier/requirements.txt
	python3 -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "it needs Python 3.11 or later" >&2; exit 1; }
	dir=$(place "$1" "$requirements" <(python3 --version))
	if [[ ! -d $dir ]]; then
		mkdir -p "$bin"
		rm -rf -- "$dir.new"
		# A folder, not a virtual environment: some systems ship without ensurepip.
		python3 -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore --require-hashes --only-binary :all: \
			--upgrade --target "$dir.new" --requirement "$requirements" >&2
		finish "$dir"
	fi
	;;
*)
	echo "usage: install.sh node|python|verifier" >&2
	exit 2
	;;
esac
echo "$dir"
