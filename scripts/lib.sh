# Helpers of the scripts here; sourced, not run.

repo_root() { dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"; }

cache_dir() { echo "${MAYFLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mayfly}"; }

# When the outermost of these scripts began, in seconds since 1970: those that it calls count on.
export MAYFLY_SCRIPT_BEGAN=${MAYFLY_SCRIPT_BEGAN:-$EPOCHSECONDS}

# A progress line on standard error, with the seconds since then.
step() { printf '[%3ds] %s\n' $((EPOCHSECONDS - MAYFLY_SCRIPT_BEGAN)) "$*" >&2; }

# run_logged LOG COMMAND...: hides the output in LOG, and shows its end if the command fails.
run_logged() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  local status=0
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -ne 0 ]; then
    echo "failed (exit $status): $*" >&2
    echo "--- the end of $log ---" >&2
    tail -n 40 "$log" >&2
    return "$status"
  fi
}

# Whether this host's KVM runs stock Linux guests: one with hardware support does.
linux_guests_run_here() {
  [ -r /dev/kvm ] && [ -w /dev/kvm ] && { [ -e /sys/module/kvm_intel ] || [ -e /sys/module/kvm_amd ]; }
}
