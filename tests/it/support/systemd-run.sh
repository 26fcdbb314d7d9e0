#!/bin/sh
# A stand-in for systemd-run: gives a command the environment, the credentials and the folder that its properties say.
folder=/
mkdir -p "$FAKE_CREDENTIALS"
export CREDENTIALS_DIRECTORY="$FAKE_CREDENTIALS"
while [ $# -gt 0 ]; do
  case $1 in
    --property=LoadCredential=*)
      credential=${1#--property=LoadCredential=}
      cp "${credential#*:}" "$CREDENTIALS_DIRECTORY/${credential%%:*}" ;;
    --property=Environment=*) export "${1#--property=Environment=}" ;;
    --property=WorkingDirectory=*) folder=${1#--property=WorkingDirectory=} ;;
    --) shift; break ;;
    -*) ;;
    *) break ;;
  esac
  shift
done
# Two dollar signs are one, as the service manager has it.
count=$#
while [ "$count" -gt 0 ]; do
  set -- "$@" "$(printf '%s' "$1" | sed 's/\$\$/$/g')"
  shift
  count=$((count - 1))
done
cd "$folder" && exec "$@"
