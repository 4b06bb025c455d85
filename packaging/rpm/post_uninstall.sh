[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
if [ "$1" -eq 0 ] && [ -d /var/lib/spoolway ] && ! rmdir /var/lib/spoolway 2>/dev/null; then
    echo "spoolway: the spool in /var/lib/spoolway was kept; its events may not be in Kafka yet" >&2
fi
