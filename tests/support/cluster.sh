# What tests/support/cluster.rs runs, with the directory of PostgreSQL's programs, how many nodes there are, and the ports of
# etcd (for its clients and its peers). It prints its directory, waits until the configuration files are in it, and starts
# everything; then it does what it is told, line by line. When nobody holds its standard input any more, everything that it
# started is killed and the directory removed.
set -eu
programs=$1 nodes=$2 etcd=$3 peers=$4
directory=$(mktemp -d /tmp/roster-cluster.XXXXXX)
cd "$directory"
etcd_process='' proxy_process=''

# Everything of a node's PostgreSQL has its data directory as the working directory. Looked for until there is none: what was
# just being started is not seen at once.
kill_postgresql() {
  found=yes
  while [ -n "$found" ]; do
    found=''
    for process in /proc/[0-9]*; do
      if [ "$(readlink "$process/cwd" 2>/dev/null)" = "$directory/$1/data" ]; then
        found=yes
        kill -KILL "${process#/proc/}" 2>/dev/null || true
      fi
    done
  done
}

start_patroni() {
  env -i PATH="$PATH" LC_ALL=C /usr/bin/patroni "$directory/$1.yml" >>"$directory/$1.log" 2>&1 </dev/null &
  echo $! >"$directory/$1.pid"
}

kill_patroni() {
  kill -KILL "$(cat "$directory/$1.pid" 2>/dev/null)" 2>/dev/null || true
}

end() {
  node=1
  while [ $node -le "$nodes" ]; do
    kill_patroni $node
    node=$((node + 1))
  done
  for process in $etcd_process $proxy_process; do
    kill -KILL "$process" 2>/dev/null || true
  done
  node=1
  while [ $node -le "$nodes" ]; do
    kill_postgresql $node
    node=$((node + 1))
  done
  cd /
  rm -rf "$directory"
}
trap end EXIT
# Also where whoever gives the orders is gone in the middle of one, or somebody ends it from a terminal.
trap '' PIPE
trap 'exit 1' HUP INT TERM

# An authority, and a certificate of it for whoever is on this machine's loopback.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=roster tests' -keyout authority.key -out authority.crt 2>openssl.log
openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout server.key -out server.csr 2>>openssl.log
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >server.ext
openssl x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 -extfile server.ext \
  -out server.crt 2>>openssl.log
chmod 755 .
mkdir sockets
echo "$directory"
read -r _ || exit 0

env -i PATH="$PATH" /usr/bin/etcd --name tests --data-dir "$directory/etcd" --listen-client-urls "http://127.0.0.1:$etcd" \
  --advertise-client-urls "http://127.0.0.1:$etcd" --listen-peer-urls "http://127.0.0.1:$peers" \
  --initial-advertise-peer-urls "http://127.0.0.1:$peers" --initial-cluster "tests=http://127.0.0.1:$peers" \
  >etcd.log 2>&1 </dev/null &
etcd_process=$!
/usr/sbin/haproxy -db -f "$directory/haproxy.cfg" >haproxy.log 2>&1 </dev/null &
proxy_process=$!
node=1
while [ $node -le "$nodes" ]; do
  start_patroni $node
  node=$((node + 1))
done

while read -r what node; do
  case $what in
    kill)
      kill_patroni "$node"
      kill_postgresql "$node"
      ;;
    start) start_patroni "$node" ;;
  esac
  echo "$what $node"
done
