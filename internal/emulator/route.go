package emulator

import (
	"net/http"
	"net/url"
	"strings"
)

// Operation names one operation of the API. The set is closed.
type Operation string

// The four challenge operations, which Faults can hit, and all the others.
const (
	OperationCreate Operation = "create"
	OperationFetch  Operation = "fetch"
	OperationList   Operation = "list"
	OperationUpdate Operation = "update"

	OperationCreateNotification Operation = "create_notification"
	OperationCreateFactor       Operation = "create_factor"
	OperationFetchFactor        Operation = "fetch_factor"
	OperationListFactors        Operation = "list_factors"
	OperationUpdateFactor       Operation = "update_factor"
	OperationDeleteFactor       Operation = "delete_factor"
	OperationCreateEntity       Operation = "create_entity"
	OperationFetchEntity        Operation = "fetch_entity"
	OperationListEntities       Operation = "list_entities"
	OperationDeleteEntity       Operation = "delete_entity"
	OperationCreateAccessToken  Operation = "create_access_token"
	OperationFetchAccessToken   Operation = "fetch_access_token"

	OperationCreatePasskeysChallenge  Operation = "create_passkeys_challenge"
	OperationApprovePasskeysChallenge Operation = "approve_passkeys_challenge"
	OperationCreatePasskeysFactor     Operation = "create_passkeys_factor"
	OperationVerifyPasskeysFactor     Operation = "verify_passkeys_factor"
	// OperationUnknown counts requests that no route or method takes.
	OperationUnknown Operation = "unknown"
)

// isChallenge reports whether Faults can hit the operation.
func (op Operation) isChallenge() bool {
	switch op {
	case OperationCreate, OperationFetch, OperationList, OperationUpdate:
		return true
	}
	return false
}

// place is a kind of path below /v2/Services/{ServiceSid}/.
type place int

const (
	placeNone place = iota
	placeEntities
	placeEntity
	placeFactors
	placeFactor
	placeChallenges
	placeChallenge
	placeNotifications
	placeAccessTokens
	placeAccessToken
	placePasskeysChallenges
	placePasskeysApproval
	placePasskeysFactors
	placePasskeysVerification
)

// takesJSON reports whether requests to the place have a JSON body, not a form.
func (p place) takesJSON() bool { return p >= placePasskeysChallenges }

// hasIdentity reports whether the path names an entity.
func (p place) hasIdentity() bool {
	return p != placeEntities && p != placeAccessTokens && p != placeAccessToken && !p.takesJSON()
}

// route is where a request goes.
type route struct {
	place    place
	service  string
	identity string // as in the path, unescaped
	sid      string // factor, challenge or access token
}

// endpoint carries a request out. A nil *apiError means that the answer holds.
type endpoint struct {
	operation Operation
	serve     func(*exchange) (answer, *apiError)
}

func endpoints() map[place]map[string]endpoint {
	return map[place]map[string]endpoint{
		placeEntities: {
			http.MethodGet:  {OperationListEntities, listEntities},
			http.MethodPost: {OperationCreateEntity, createEntity},
		},
		placeEntity: {
			http.MethodGet:    {OperationFetchEntity, fetchEntity},
			http.MethodDelete: {OperationDeleteEntity, deleteEntity},
		},
		placeFactors: {
			http.MethodGet:  {OperationListFactors, listFactors},
			http.MethodPost: {OperationCreateFactor, createFactor},
		},
		placeFactor: {
			http.MethodGet:    {OperationFetchFactor, fetchFactor},
			http.MethodPost:   {OperationUpdateFactor, updateFactor},
			http.MethodDelete: {OperationDeleteFactor, deleteFactor},
		},
		placeChallenges: {
			http.MethodGet:  {OperationList, listChallenges},
			http.MethodPost: {OperationCreate, createChallenge},
		},
		placeChallenge: {
			http.MethodGet:  {OperationFetch, fetchChallenge},
			http.MethodPost: {OperationUpdate, updateChallenge},
		},
		placeNotifications: {
			http.MethodPost: {OperationCreateNotification, createNotification},
		},
		placeAccessTokens: {
			http.MethodPost: {OperationCreateAccessToken, createAccessToken},
		},
		placeAccessToken: {
			http.MethodGet: {OperationFetchAccessToken, fetchAccessToken},
		},
		placePasskeysChallenges: {
			http.MethodPost: {OperationCreatePasskeysChallenge, createPasskeysChallenge},
		},
		placePasskeysApproval: {
			http.MethodPost: {OperationApprovePasskeysChallenge, refusePasskeys},
		},
		placePasskeysFactors: {
			http.MethodPost: {OperationCreatePasskeysFactor, refusePasskeys},
		},
		placePasskeysVerification: {
			http.MethodPost: {OperationVerifyPasskeysFactor, refusePasskeys},
		},
	}
}

// parseRoute reads a path. An unknown one has placeNone.
func parseRoute(u *url.URL) route {
	rest, ok := strings.CutPrefix(u.EscapedPath(), "/v2/Services/")
	if !ok {
		return route{}
	}
	part := strings.Split(rest, "/")
	r := route{service: part[0]}
	if len(part) >= 2 && len(part) <= 3 && part[1] == "AccessTokens" {
		if r.place = placeAccessTokens; len(part) == 3 {
			r.place, r.sid = placeAccessToken, part[2]
		}
		return r
	}
	if len(part) == 3 && part[1] == "Passkeys" {
		r.place = passkeysPlace(part[2])
		return r
	}
	if len(part) < 2 || len(part) > 6 || part[1] != "Entities" {
		return route{}
	}
	if len(part) == 2 {
		r.place = placeEntities
		return r
	}
	identity, err := url.PathUnescape(part[2])
	if err != nil {
		return route{}
	}
	r.identity = identity
	if len(part) >= 5 {
		r.sid = part[4]
	}
	r.place = entityPlace(part[3:])
	return r
}

func passkeysPlace(name string) place {
	switch name {
	case "Challenges":
		return placePasskeysChallenges
	case "ApproveChallenge":
		return placePasskeysApproval
	case "Factors":
		return placePasskeysFactors
	case "VerifyFactor":
		return placePasskeysVerification
	}
	return placeNone
}

// entityPlace reads what follows the identity.
func entityPlace(part []string) place {
	switch {
	case len(part) == 0:
		return placeEntity
	case part[0] == "Factors" && len(part) == 1:
		return placeFactors
	case part[0] == "Factors" && len(part) == 2:
		return placeFactor
	case part[0] == "Challenges" && len(part) == 1:
		return placeChallenges
	case part[0] == "Challenges" && len(part) == 2:
		return placeChallenge
	case part[0] == "Challenges" && len(part) == 3 && part[2] == "Notifications":
		return placeNotifications
	}
	return placeNone
}
