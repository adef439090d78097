#!/bin/bash
# Runs in the guest of "make machine", on the stock kernel and on ours: programs that people
# use, with 200 connections each. Prints what KernelStack is at which time, and what was done.
log=/var/tmp/programs.log

# sample WHEN: threads of the machine, and kB of their stacks.
sample()
{
	echo "sample $1 $(find /proc/[0-9]*/task -mindepth 1 -maxdepth 1 2>/dev/null | wc -l) $(
		sed -n 's/KernelStack: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
}

n=0
check()
{
	local name=$1
	n=$((n + 1))
	shift
	if "$@" > $log 2>&1; then
		echo "ok $n $name"
	else
		sed 's/^/# /' $log
		echo "not ok $n $name"
	fi
}

answers()
{
	local i
	for i in $(seq 300); do
		wget -q -O /dev/null "$1" && return
		sleep 1
	done
	return 1
}

as_postgres()
{
	runuser -u postgres -- "$@"
}

bench=$(echo /usr/lib/postgresql/*/bin/pgbench)

# requests URL SECONDS: with 200 connections; some have to be answered, and none refused.
requests()
{
	wrk -c 200 -t 2 -d "$2" --timeout 60 "$1" | tee "$3"
	grep -q "[1-9][0-9]* requests in" "$3" && ! grep -E "Non-2xx|errors: connect [1-9]" "$3"
}

count()
{
	sed -n 's/ *\([0-9]*\) requests in.*/\1/p' "$1"
}

echo "# selftest"
uname -r | sed 's/^/# /'
sleep 60
sample boot
check postgresql_starts systemctl start postgresql
check nginx_starts systemctl start nginx
check tomcat_starts systemctl start tomcat10
check nginx_answers answers http://127.0.0.1:80/
check tomcat_answers answers http://127.0.0.1:8080/
check pgbench_fills_its_tables as_postgres "$bench" -i -q -s 2 postgres
sleep 30
sample started
as_postgres "$bench" -c 200 -j 2 -T 120 postgres > /var/tmp/pgbench 2>&1 &
pg=$!
requests http://127.0.0.1:80/ 120 /var/tmp/nginx > /dev/null 2>&1 &
ng=$!
requests http://127.0.0.1:8080/ 120 /var/tmp/tomcat > /dev/null 2>&1 &
tc=$!
for i in 1 2 3; do
	sleep 30
	sample "load$i"
done
check pgbench_ends_well wait $pg
check wrk_of_nginx_ends_well wait $ng
check wrk_of_tomcat_ends_well wait $tc
echo "# done: $(sed -n 's/number of transactions actually processed: \([0-9]*\).*/\1/p' /var/tmp/pgbench) transactions, $(
	count /var/tmp/nginx) requests to nginx, $(count /var/tmp/tomcat) to Tomcat"
# Connections stay, and each says something each 20 s.
as_postgres "$bench" -c 200 -j 2 -R 10 -T 400 postgres > /var/tmp/pgbench 2>&1 &
pg=$!
sleep 300
sample later
check idle_connections_stay kill -0 $pg
kill $pg
if [ -e /proc/sys/kernel/stack_policy ]; then
	echo "# overflows: $(bpftool map dump name stack_stats |
		sed -n 's/.*"grows_fault": \([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n + 0 }')"
	dmesg | grep stack_policy: | sed 's/^/# /'
fi
echo "1..$n"
echo "# end"
systemctl poweroff
