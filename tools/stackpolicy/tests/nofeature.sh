# shellcheck shell=sh disable=SC2154
# SPDX-License-Identifier: GPL-2.0
# A kernel without the policy: one line, and status 1.
for command in "class show" "class set task limit=32" "class reset" "thread show" "thread watch" \
	"memory show" "metrics" "feature probe" "ensure list"; do
	check "$(echo "$command" | tr ' =' '__')" 1 "has no stack policy \(CONFIG_STACK_POLICY\)" \
		"$tool $command"
done
check one_line 0 "^1\$" "$tool class show 2>&1 | wc -l"
json in_json '.[0].error | test("no stack policy")' "$tool -j class show || [ \$? -eq 1 ]"
