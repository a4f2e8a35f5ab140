# Sourced: what multirank/common.sh gives, and `on_hosts`. Ends with 77 where no hosts can be made.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../multirank/common.sh"
if [[ ${2:-} == */* ]]; then PATH=$(dirname "$2"):$PATH; fi
if ! mpirun --version | grep -qE 'Open MPI|OpenRTE'; then echo "SKIPPED: mpirun is not Open MPI's"; exit 77; fi
hosts=$here/../../jobs/cluster/hosts
code=0
"$hosts" with 1 true || code=$?
if [ "$code" -ne 0 ]; then exit "$code"; fi
# Sessions stay in the hosts' own file systems.
unset OMPI_MCA_rmaps_base_oversubscribe

# on_hosts RANKS,RANKS,... [--mbit RATE] COMMAND...: runs a command that can use, on so many hosts with so many ranks each,
# `jobs/launch "${on_these[@]}"`; in a script of its own, with $num_ranks and the functions that are exported.
on_hosts() {
  local slots rate=()
  IFS=, read -ra slots <<<"$1"
  shift
  if [ "$1" = --mbit ]; then rate=("$1" "$2"); shift 2; fi
  num_ranks=0
  : >"$scratch/hostfile"
  for host_idx in "${!slots[@]}"; do
    echo "h$host_idx slots=${slots[host_idx]}" >>"$scratch/hostfile"
    num_ranks=$((num_ranks + slots[host_idx]))
  done
  export num_ranks
  timeout -k 5 120 "$hosts" with "${#slots[@]}" "${rate[@]}" "$@"
}
# In on_hosts: starts the program on its ranks.
launch_there() {
  "$here/../../jobs/launch" --hosts "$scratch/hostfile" --network "$HOSTS_NETWORK" "$num_ranks" "$@" --config "$scratch/run.conf"
}
export -f launch_there
export here scratch program
