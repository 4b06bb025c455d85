# $1 is 0 when the package goes for good.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl disable --now spoolway.socket spoolway.service || :
fi
