package verdict

// limits names each limit of the API that ends a request, with its window, by
// error code. The source is the API's error dictionary.
var limits = map[int]string{
	60308: "verification attempts of one challenge: 5 for a TOTP factor",
	60309: "push notifications of one challenge: 3",
	60310: "verification attempts of one factor: 5 for a TOTP factor",
	60312: "challenges created for one factor: 10 in 24 hours where its code length is 4 or less; " +
		"50 in 1 hour and 100 in 24 hours where it is 5 or more",
	60326: "factors created for one entity: 100 in a day",
}
