# Debian packages, sourced by ./run and ./check. One list a purpose, so that a person's machine
# gets no test tools.
packages_build="g++ cmake ninja-build lld libboost1.81-dev nlohmann-json3-dev libexpected-dev
  libfmt-dev
  libcli11-dev libtomlplusplus-dev libseccomp-dev libsodium-dev libssl-dev
  libpng-dev libjpeg62-turbo-dev libwebp-dev nodejs npm python3"
packages_starter="python3 python3-pip"
packages_check="libgtest-dev libbenchmark-dev libsimde-dev clang-14 libclang-rt-14-dev
  clang-format-14 clang-tidy-14 ccache chromium python3-venv python3-pip git strace procps openssl"

# Prints those of its arguments that are not installed.
packages_missing() {
  for package in "$@"; do
    case $package in
      nodejs) command -v node > /dev/null && continue ;;
      npm) command -v npm > /dev/null && continue ;;
      python3) command -v python3 > /dev/null && continue ;;
      python3-pip) python3 -m pip --version > /dev/null 2>&1 && continue ;;
      python3-venv) python3 -c 'import ensurepip, venv' > /dev/null 2>&1 && continue ;;
    esac
    dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null | grep -q '^installed' \
      || printf '%s\n' "$package"
  done
}

# Installs what is missing of its arguments; says what. Needs root or sudo.
packages_install() {
  missing=$(packages_missing "$@")
  [ -n "$missing" ] || return 0
  as_root=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || {
      say "these packages are missing: $(echo $missing)"
      say "What to do: as root, run: apt-get install --no-install-recommends $(echo $missing)"
      return 1
    }
    as_root=sudo
  fi
  say "installing $(echo $missing)"
  log=$(mktemp)
  if ! { $as_root apt-get update -qq \
         && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
              --no-install-recommends $missing; } > "$log" 2>&1; then
    tail -n 5 "$log" >&2
    say "What to do: check the network and the package sources, then run the same command again"
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
