# Sourced by up, down, run and node: where the cluster's state is, and who keeps it alive.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${CLUSTER_STATE:-${TMPDIR:-/tmp}/switchyard-cluster-$(id -u)}
me=$(basename "$0")
stop() { echo "$me: $1" >&2; exit "${2:-1}"; }

# keeper: the process whose end is the cluster's end. Its command line names the state, so that no other that has got the
# same number is taken for it.
keeper() {
  local process
  process=$(cat "$state/keeper.pid" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$process/cmdline" | grep -qF " $state " || return 1
  echo "$process"
}

# on_login_node COMMAND...
on_login_node() {
  local process join=()
  if ! process=$(keeper) || ! [ -e "$state/ready" ]; then stop "no cluster is up in $state; start one with jobs/cluster/up"; fi
  process=$(cat "$state/login.pid")
  if [ "$(id -u)" -ne 0 ]; then join=(--user --preserve-credentials); fi
  # The nodes share this machine's cores: ranks that wait have to yield.
  export OMPI_MCA_mpi_yield_when_idle=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  nsenter --target "$process" "${join[@]}" --net --uts --ipc --pid --mount \
    env -C "$PWD" "SLURM_CONF=$state/slurm.conf" "HOSTS=$here/hosts" "$@"
}
