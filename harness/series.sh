#!/bin/bash
# make series: every prefix of the patch queue builds. The option exists with
# the last patch only, so before that there is only off; on is what make test
# builds.
cd "$(dirname "$0")" || exit
. ./lib.sh
. ./objects.sh

prepare_stock
rsync -rlpc --delete "$O/stock/" "$O/series/"
for dir in $OVERLAY; do
	rsync -rlpc "$top/$dir/" "$O/series/$dir/"
done
while read -r patch; do
	patch -d "$O/series" -p1 -F0 -s --no-backup-if-mismatch < "$top/patches/6.12/$patch"
	step "${patch%%-*} ${patch:5:34}" build_objects "$O/series" "$O/series-obj"
done < "$top/patches/6.12/series"
echo "every prefix builds"
