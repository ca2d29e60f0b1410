# Functions of the scripts in this folder and of .ci/run, which source it. Changes to the project's
# folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build_packages=(build-essential cmake ninja-build pkg-config libopenmpi-dev openmpi-bin
    libopenblas-openmp-dev libhwloc-dev libhdf5-dev libzstd-dev libjansson-dev libinih-dev
    libarchive-dev libcurl4-openssl-dev libmatio-dev libssl-dev
    libcmocka-dev libjpeg-dev libjs-chart.js libpng-dev libprotobuf-c-dev libxxhash-dev protobuf-c-compiler zlib1g-dev
    dataset-fashion-mnist)
test_packages=(python3-numpy python3-scipy python3-h5py python3-pil python3-torch python3-torchvision python3-xxhash python3-protobuf
    python3-crc32c protobuf-compiler zstd hdf5-tools qemu-user iproute2
    libsimgrid-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross help2man man-db dpkg-dev file zsh nodejs locales)

say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

# packages NAME...: installs those that are missing, by apt.
packages() {
    if [[ ! -r /etc/debian_version ]]; then
        echo "expected Debian; install what these packages of it hold, and build" \
            "as docs/install.md says: $*" >&2
        exit 1
    fi
    local package state missing=()
    for package in "$@"; do
        state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || state=missing
        [[ $state == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    local as_root=()
    if ((EUID != 0)); then
        as_root=(sudo)
        command -v sudo >/dev/null || {
            echo "expected root or sudo, to install: ${missing[*]}" >&2
            exit 1
        }
    fi
    say "Installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build FOLDER [CMAKE-OPTION...]: configures and builds; options of earlier calls are kept.
build() {
    local folder=$1
    shift
    cmake -S . -B "$folder" -G Ninja "$@"
    cmake --build "$folder"
}

# By default Open MPI refuses to run as root, and reads other processes' memory, which containers
# forbid.
mpi_settings() {
    if ((EUID == 0)); then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    export OMPI_MCA_btl_vader_single_copy_mechanism=none
}
