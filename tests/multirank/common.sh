# Sourced: a scratch folder with a text and a small config, and `launch N ...` for mpirun.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,${/^#/!q;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac
program=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Open MPI keeps the sessions of one user in one folder, which the last one removes while another may be entering it: each
# start has a folder of its own.
mpirun=$scratch/mpirun
cat >"$mpirun" <<MPIRUN
#!/usr/bin/env bash
export OMPI_MCA_orte_tmpdir_base=\$(LD_PRELOAD= mktemp -d "$scratch/session-XXXXXX")
exec "$(command -v "${2:-mpirun}")" "\$@"
MPIRUN
chmod +x "$mpirun"
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for i in $(seq 400); do echo "the $((i * i % 97)) wagons are sorted onto track $((i % 7))"; done >"$scratch/text.txt"
cat >"$scratch/run.conf" <<CONFIG
[model]
hidden = 32
layers = 2
heads = 2
kv_heads = 1
seq_len = 32
[moe]
experts = 5
expert_width = 16
capacity_factor = 1.0
jitter = 0.05
[train]
steps = 12
global_batch = 8
eval_every = 0
[optimizer]
warmup_steps = 2
[numerics]
mode = reproducible
[parallel]
threads = 1
deadline_seconds = 60
[run]
log_every = 100
checkpoint_every = 3
[data]
path = $scratch/text.txt
[generate]
prompt = "the "
tokens = 8
CONFIG
launch() { timeout -k 5 120 "$mpirun" -n "$1" "$program" "${@:2}" --config "$scratch/run.conf"; }
losses() { grep '"type":"step"' "$1/metrics.jsonl" | sed -E 's/.*"step":([0-9]+),"loss":([^,]*),.*"routing_hash":"([0-9a-f]+)","dropped".*/\1 \2 \3/' | sort -n | uniq; }
