# $1 is 1 on a first installation and 2 on an upgrade.
systemd-sysusers spoolway.conf || :
systemd-tmpfiles --create spoolway.conf || :
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    [ "$1" -lt 2 ] || systemctl try-restart spoolway.service || :
fi
