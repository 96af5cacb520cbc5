package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
)

// right is what an access control list gives: an operation on a resource, both
// as Kafka's own tools name them.
type right struct{ operation, resource, name string }

// String implements fmt.Stringer.
func (r right) String() string {
	return r.operation + " on " + strings.TrimSpace(r.resource+" "+r.name)
}

const (
	topicResource   = "Topic"
	groupResource   = "Group"
	txnResource     = "TransactionalId"
	clusterResource = "Cluster"
)

func onTopic(operation, name string) right { return right{operation, topicResource, name} }
func onGroup(operation, name string) right { return right{operation, groupResource, name} }
func onTxn(name string) right              { return right{"Write", txnResource, name} }

// resourceOf is the kind of resource that a broker refuses access to by this code.
func resourceOf(code kafkago.Error) string {
	switch code {
	case kafkago.TopicAuthorizationFailed:
		return topicResource
	case kafkago.GroupAuthorizationFailed:
		return groupResource
	case kafkago.TransactionalIDAuthorizationFailed:
		return txnResource
	case kafkago.ClusterAuthorizationFailed:
		return clusterResource
	default:
		return ""
	}
}

// lacking adds to a broker's refusal which right it is about, out of those that
// the request needs. Other errors stay as they are.
func (c *Client) lacking(err error, needed ...right) error {
	code, said := errors.AsType[kafkago.Error](err)
	if !said {
		return err
	}
	var named []string
	for _, r := range needed {
		if r.resource == resourceOf(code) {
			named = append(named, r.String())
		}
	}
	if len(named) == 0 {
		return err
	}
	who := "this client"
	if c.user != "" {
		who = fmt.Sprintf("user %q", c.user)
	}
	return fmt.Errorf("%s needs %s: %w", who, strings.Join(named, " and "), err)
}

// blameRights tells topics that this client may not see from those that do not
// exist: brokers leave both out of the layout that kafka-go keeps. One that is
// asked by name tells them apart. needed are the rights, one for each topic that
// err may be about.
func (c *Client) blameRights(ctx context.Context, err error, needed ...right) error {
	unknown, ok := errors.AsType[*Error](err)
	if !ok || unknown.Code != CodeUnknownTopic {
		return err
	}
	for _, r := range needed {
		_, asked := c.partitions(ctx, r.name)
		switch CodeOf(asked) {
		case "", CodeUnknownTopic:
		case CodeDenied:
			return wrap(ctx, unknown.Op, c.lacking(kafkago.TopicAuthorizationFailed, r))
		default:
			return asked // nothing was heard of the topic
		}
	}
	return err
}
