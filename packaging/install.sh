#!/bin/sh
# Install the agent or the collector from a wheel, into a private environment, with its units.
#
#   sh packaging/install.sh agent     dist/vedette-0.1.0-py3-none-any.whl
#   sh packaging/install.sh collector dist/vedette-0.1.0-py3-none-any.whl
#
# Needs root, Python 3.11 or newer that every user may run, and pip. Run it again to upgrade.
set -eu

part=${1:-}
wheel=${2:-}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
case $part in
agent) units="vedette-sense vedette-ship vedette-inspect@ vedette-dns" ;;
collector) units="vedette-collector" ;;
*)
    echo "usage: install.sh agent|collector WHEEL" >&2
    exit 2
    ;;
esac
[ -f "$wheel" ] || { echo "install.sh: no wheel at '$wheel'; make one with: make build" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }

python=${PYTHON:-/usr/bin/python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "install.sh: $python is older than 3.11; name another with PYTHON=..." >&2; exit 1; }

home=/usr/lib/vedette/$part
echo "installing into $home"
umask 022
"$python" -m venv --without-pip "$home"
pip() { "${PIP_PYTHON:-$python}" -m pip --python "$home/bin/python" --disable-pip-version-check "$@"; }
pip install --quiet --require-hashes --requirement "$here/../requirements/$part.txt"
pip install --quiet --no-deps --force-reinstall "$wheel"

# The other half's code and tests have no business on this host.
site=$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
case $part in
agent) rm -rf "$site/collector" "$home/bin/vedette-collector" ;;
collector) rm -rf "$site/agent" "$home/bin/vedette-agent" ;;
esac

install -D -m 644 "$here/sysusers/vedette-$part.conf" "/usr/lib/sysusers.d/vedette-$part.conf"
install -D -m 644 "$here/tmpfiles/vedette-$part.conf" "/usr/lib/tmpfiles.d/vedette-$part.conf"
for unit in $units; do
    install -D -m 644 "$here/systemd/$unit.service" "/usr/lib/systemd/system/$unit.service"
done
# Profiles of the agent, to be copied by whoever wants another than the standard one.
if [ "$part" = agent ]; then
    install -D -m 644 "$here/systemd/vedette-inspect.socket" \
        /usr/lib/systemd/system/vedette-inspect.socket
    for profile in minimal full; do
        install -D -m 644 "$here/systemd/vedette-sense.service.d/$profile.conf" \
            "$home/systemd/$profile.conf"
    done
fi
install -d -m 755 /etc/vedette
systemd-sysusers "vedette-$part.conf"
systemd-tmpfiles --create "vedette-$part.conf"
ln -sf "$home/bin/vedette-$part" "/usr/local/bin/vedette-$part"
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
echo "done; see docs/how-to/install.md for what comes next"
