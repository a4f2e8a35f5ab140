# Sourced: what multirank/common.sh gives, a cluster of num_nodes (three unless set), and jobs on it that are broken and watched.
# Ends with 77 where there can be no cluster.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../multirank/common.sh"
cluster=$here/../../jobs/cluster
slurm=$here/../../jobs/slurm
export CLUSTER_STATE=$scratch/cluster
trap '"$cluster/down" >/dev/null; rm -rf "$scratch"' EXIT
code=0
timeout 90 "$cluster/up" --nodes "${num_nodes:-3}" --owner $$ || code=$?
if [ "$code" -ne 0 ]; then exit "$code"; fi
unset OMPI_MCA_rmaps_base_oversubscribe
export SWITCHYARD=$program
cd "$scratch" || exit

run() { timeout 60 "$cluster/run" "$@" </dev/null; }
fail() {
  echo "$1"
  run squeue || true
  for log in "$scratch"/*.log; do
    echo "---- $log"
    tail -n 40 "$log"
  done
  exit 1
}
# submit NAME SBATCH_OPTION... -- SETTING...: train.sbatch with one rank a CPU, as $job, into the folder NAME
submit() {
  local options=(--nodes=2 --ntasks-per-node=2 --cpus-per-task=1 --time=10 "--output=$scratch/$1-%j.log")
  name=$1
  shift
  while [ "${1:---}" != -- ]; do
    options+=("$1")
    shift
  done
  job=$(run sbatch --parsable "${options[@]}" "$slurm/train.sbatch" "$scratch/run.conf" "$scratch/$name" "${@:2}")
}
fact() { run scontrol show job -o "${2:-$job}" 2>/dev/null | sed -nE "s/^(.* )?$1=([^ ]*).*/\2/p" | head -n 1; }
# await SECONDS WHAT CONDITION...
await() {
  local limit=$1 what=$2 start=$SECONDS
  shift 2
  until "$@"; do
    if [ $((SECONDS - start)) -gt "$limit" ]; then fail "not within $limit s: $what"; fi
    sleep 0.1
  done
}
# Between records of steps stand others, but never many in a row.
last_step() {
  tail -n 9 "$scratch/$name/metrics.jsonl" 2>/dev/null | sed -nE '/.*"type":"step","step":([0-9]+),.*/{s//\1/;h};${g;/./p}' || true
}
reached() { local step; step=$(last_step); [ "${step:-0}" -ge "$1" ]; }
num_events() { grep -c "\"type\":\"$1\"" "$scratch/$name/jobs.jsonl" 2>/dev/null || true; }
has_events() { [ "$(num_events "$1")" -ge "$2" ]; }
# The job, and with it the run, is done.
ended() { [[ $(fact JobState "${1:-$job}") =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|PREEMPTED)$ ]]; }
expect_state() {
  local state
  state=$(fact JobState)
  [ "$state" = "$1" ] || fail "$name: the job's state is $state instead of $1"
}
# node_is NODE PATTERN: its state, as sinfo shortens it
node_is() { run sinfo --noheader --nodes="$1" --partition=batch --format=%t | grep -qxE "$2"; }
# says TEXT: in the account
says() { grep -qF -- "$1" "$scratch/$name/jobs.jsonl" || fail "$name: the account does not say '$1': $(cat "$scratch/$name/jobs.jsonl")"; }
# expect_same NAME: every step is there once, with the loss and the routing of the run `undisturbed`.
expect_same() {
  losses "$scratch/undisturbed" >"$scratch/$name.expected"
  losses "$scratch/$name" | cmp - "$scratch/$name.expected" || fail "$name: losses or routing differ from those of an undisturbed run"
  [ "$(grep -c '"type":"step"' "$scratch/$name/metrics.jsonl")" -eq "$(wc -l <"$scratch/$name.expected")" ] ||
    fail "$name: steps are there twice"
  "$program" checkpoint verify "$scratch/$name/checkpoints/latest" >/dev/null || fail "$name: its checkpoint is damaged"
}
# undisturbed STEPS: the run to compare with, on one rank and without Slurm
undisturbed() {
  sed -i -e "s/^steps = .*/steps = $1/" -e "s/^checkpoint_every = .*/checkpoint_every = ${2:-20}/" "$scratch/run.conf"
  "$program" train --config "$scratch/run.conf" --set "run.directory=$scratch/undisturbed" >/dev/null
  [ "$(losses "$scratch/undisturbed" | wc -l)" -eq "$1" ] || fail "the undisturbed run has not all steps"
}
ranks() { pgrep -f "train --config $scratch/run.conf .*$scratch/$name " | while read -r pid; do
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = switchyard ]; then echo "$pid"; fi
done; }
