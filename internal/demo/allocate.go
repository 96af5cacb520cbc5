package demo

import (
	"cmp"
	"slices"
)

// allocate shares n out by weight. As long as n allows, everything gets at
// least one, the first of the list first; the rest follows the weights by
// largest remainder. The shares add up to n.
func allocate(n int, weights []int) []int {
	shares := make([]int, len(weights))
	for i := range shares {
		if n == 0 {
			return shares
		}
		shares[i]++
		n--
	}
	total := 0
	for _, w := range weights {
		total += w
	}
	if n == 0 || total == 0 {
		return shares
	}
	type remainder struct{ at, left int }
	remainders := make([]remainder, len(weights))
	given := 0
	for i, w := range weights {
		shares[i] += n * w / total
		given += n * w / total
		remainders[i] = remainder{i, n * w % total}
	}
	slices.SortStableFunc(remainders, func(a, b remainder) int { return cmp.Compare(b.left, a.left) })
	for _, r := range remainders[:n-given] {
		shares[r.at]++
	}
	return shares
}
