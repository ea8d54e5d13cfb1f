# What a guest does for `cargo xtask lab`, after a line that says which parts tests must not skip and
# which values of tls.offload they go through; /lab/tests has a line for each program and filter.
export LONGSPLICE_TEST_BINARY=/lab/longsplice
# An emulated processor takes a quarter of an hour for what the test moves on a real one.
export LONGSPLICE_TEST_TRANSFER_MIB=16

say doctor
/lab/longsplice doctor --json
say "doctor ended $?"

while read -r program filter; do
    say "tests $program $filter"
    "/lab/$program" "$filter" --show-output --test-threads=2
    say "tests ended $?"
done </lab/tests

# A connection that is gone gives its keys back; the last ones may still be on their way out.
tries=0
while grep -q '^TlsCurr[A-Za-z]*[[:space:]]*[1-9]' /proc/net/tls_stat && [ $tries -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
say statistics
cat /proc/net/tls_stat
