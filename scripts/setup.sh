#!/bin/sh
# Gets what the tests, the demo and the benches need on Debian 12: system packages and the
# Apache Kafka jars, and a Java compiler. Does not build Spoolway and does not start a broker.
#
# usage: scripts/setup.sh [--bench] [--package] [--check]
#   --bench   also kcat, the peer that the benches compare with
#   --package also the Debian root that `make test-package` boots; as root
#   --check   install and fetch nothing; list what is missing and exit 1 if anything is
#
# SPOOLWAY_TEST_CACHE names the folder that keeps the jars; default
# ${XDG_CACHE_HOME:-$HOME/.cache}/spoolway. Nothing there is ever fetched twice.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${SPOOLWAY_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/spoolway}
# broker:tools. Kafka 4.4.0 was released without a tools artifact.
kafka_versions='4.4.0:4.3.1 4.3.1:4.3.1 3.9.2:3.9.2'
# Compiles the Java of tests/support/java; with it a JRE is enough.
compiler=3.43.0
least_java=17
bench=no
package=no
check=no

say() { printf 'setup: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

java_is_enough() {
    has java || return 1
    major=$(java -version 2>&1 | sed -n 's/^[a-z]* version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${major:-0}" -ge "$least_java" ]
}

missing_packages() {
    java_is_enough || printf '%s ' default-jre-headless
    has mvn || printf '%s ' maven
    has openssl || printf '%s ' openssl
    has ip || printf '%s ' iproute2
    has mkfs.ext4 || [ -x /sbin/mkfs.ext4 ] || printf '%s ' e2fsprogs
    has cc || printf '%s ' gcc libc6-dev
    has logrotate || [ -x /usr/sbin/logrotate ] || printf '%s ' logrotate
    [ "$bench" = no ] || has kcat || printf '%s ' kcat
    [ "$package" = no ] || has mmdebstrap || printf '%s ' mmdebstrap
    [ "$package" = no ] || has systemd-nspawn || printf '%s ' systemd-container
    [ "$package" = no ] || has strace || printf '%s ' strace
    [ "$package" = no ] || has lintian || printf '%s ' lintian
}

# Prints the command prefix that gives root, or nothing when there is none without a password.
root_prefix() {
    if [ "$(id -u)" -eq 0 ]; then
        printf 'env'
    elif has sudo && sudo -n true 2>/dev/null; then
        printf 'sudo -n env'
    fi
}

install_packages() {
    packages=$(missing_packages)
    [ -n "$packages" ] || return 0
    root=$(root_prefix)
    if [ "$check" = yes ] || [ -z "$root" ] || ! has apt-get; then
        say "missing packages; install them as root and run this again:"
        say "    apt-get install --no-install-recommends $packages"
        return 1
    fi
    say "installing $packages"
    # shellcheck disable=SC2086  # both are lists of words
    $root apt-get update -qq || return 1
    # shellcheck disable=SC2086
    $root DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends $packages >&2 || return 1
    java_is_enough || {
        say "java is older than $least_java: put a newer one first on PATH"
        return 1
    }
}

# fetch_kafka BROKER TOOLS: a folder is complete or absent, because it gets its name last.
fetch_kafka() {
    home=$cache/kafka-$1
    [ ! -d "$home" ] || return 0
    if [ "$check" = yes ]; then
        say "missing: Apache Kafka $1 in $home"
        return 1
    fi
    say "fetching Apache Kafka $1 into $home"
    mkdir -p "$cache" || return 1
    partial=$(mktemp -d "$cache/.kafka-$1.XXXXXX") || return 1
    trap 'rm -rf -- "$partial"' EXIT
    mvn -q -B -Dstyle.color=never -f "$here/kafka/pom.xml" \
        "-Dbroker.version=$1" "-Dtools.version=$2" \
        dependency:copy-dependencies -DincludeScope=runtime \
        "-DoutputDirectory=$partial/libs" >&2 || {
        say "maven could not fetch Apache Kafka $1; its own message is above"
        return 1
    }
    [ -f "$partial/libs/kafka_2.13-$1.jar" ] || {
        say "maven ended well but brought no kafka_2.13-$1.jar"
        return 1
    }
    chmod 755 "$partial"
    # Another run may have been faster: then its folder stays and this one goes.
    mv -T -- "$partial" "$home" 2>/dev/null || [ -d "$home" ]
    rm -rf -- "$partial"
    trap - EXIT
}

fetch_compiler() {
    jar=$cache/ecj-$compiler.jar
    [ ! -f "$jar" ] || return 0
    if [ "$check" = yes ]; then
        say "missing: the Java compiler $jar"
        return 1
    fi
    say "fetching the Java compiler $jar"
    partial=$(mktemp -d "$cache/.ecj.XXXXXX") || return 1
    trap 'rm -rf -- "$partial"' EXIT
    mvn -q -B -Dstyle.color=never dependency:copy "-Dartifact=org.eclipse.jdt:ecj:$compiler" \
        "-DoutputDirectory=$partial" >&2 || {
        say "maven could not fetch ecj $compiler; its own message is above"
        return 1
    }
    mv -f -- "$partial/ecj-$compiler.jar" "$jar" || return 1
    rm -rf -- "$partial"
    trap - EXIT
}

# A root gets its name last too. Without root there is none, and the test says so.
make_debian() {
    root=$cache/debian12-root
    [ ! -x "$root/usr/bin/rpm" ] || return 0
    if [ "$check" = yes ] || [ "$(id -u)" -ne 0 ]; then
        say "missing: a Debian 12 root in $root; run this as root with --package"
        return 1
    fi
    say "making a Debian 12 root in $root"
    mkdir -p "$cache" && rm -rf -- "$root.partial" || return 1
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,libgcc-s1,rpm \
        bookworm "$root.partial" >&2 || return 1
    rm -rf -- "$root" && mv -T -- "$root.partial" "$root"
}

while [ $# -gt 0 ]; do
    case $1 in
        --bench) bench=yes ;;
        --package) package=yes ;;
        --check) check=yes ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done

failed=no
install_packages || failed=yes
has cargo || { say 'no cargo on PATH: install Rust 1.88 or newer'; failed=yes; }
if [ "$check" = yes ] || [ "$failed" = no ]; then
    for pair in $kafka_versions; do
        fetch_kafka "${pair%%:*}" "${pair##*:}" || { failed=yes; [ "$check" = yes ] || break; }
    done
    [ "$failed$check" = yesno ] || fetch_compiler || failed=yes
fi
[ "$package" = no ] || [ "$failed" = yes ] || make_debian || failed=yes
[ "$failed" = no ] || exit 1
say "ready: Apache Kafka (broker:tools) $kafka_versions in $cache"
