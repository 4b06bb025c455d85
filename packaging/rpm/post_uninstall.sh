[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
if [ "$1" -eq 0 ]; then
    rm -rf /run/spoolway
    if [ -d /var/lib/spoolway ] && ! rmdir /var/lib/spoolway 2>/dev/null; then
        echo "spoolway: the spool in /var/lib/spoolway was kept; its events may not be in Kafka yet" >&2
        echo "spoolway: install the package again to drain it, or delete the directory" >&2
    fi
    rmdir /etc/spoolway/conf.d /etc/spoolway 2>/dev/null || :
fi
