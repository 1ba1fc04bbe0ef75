#!/usr/bin/env bash
# Installs the client programs that test/clients runs against Shoal: Debian packages, and the npm packages of
# test/clients/programs with the exact versions of its lock file. Those are no dependency of Shoal.
set -euo pipefail
cd "$(dirname "$0")/programs"

wanted=(
  mosquitto mosquitto-clients
  gcc g++ libc6-dev libpaho-mqtt-dev libpaho-mqttpp-dev openssl
  python3-paho-mqtt python3-asyncio-mqtt
  collectd-core rtl-433
  haproxy nginx-light libnginx-mod-stream stunnel4
)
packages=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  if [ "$status" != installed ]; then packages+=("$package"); fi
done
if [ ${#packages[@]} -gt 0 ]; then
  sudo=()
  if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi
  "${sudo[@]}" apt-get update
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
fi

# What is unpacked is all that the programs need: no install script runs.
npm ci --ignore-scripts --no-audit --no-fund
