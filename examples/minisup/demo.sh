# What minisup shows if it is given no file: itself, used from a shell.
minisup() { "$MINISUP" "$@"; }
MINISUP_DIR=$(mktemp -d)
export MINISUP_DIR
cd "$MINISUP_DIR"
echo "$CONFIG" >demo.toml
minisup demo.toml &
until [ -e web ]; do kill -0 $!; sleep 0.02; done
set -x
minisup status
old=$(cat pid)
kill -9 "$old"
until [ "$(cat pid)" != "$old" ]; do sleep 0.02; done
minisup stop job
minisup status
minisup start job
minisup restart web
minisup stop
wait $!
rm -r "$MINISUP_DIR"
