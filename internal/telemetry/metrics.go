// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// SeriesMax bounds the sets of attributes of one instrument. A thousand topics
// fit; a hundred thousand belong into the answer of a command, not into every
// scrape.
const SeriesMax = 2000

// secretKeys are attributes that grow with clients and messages: they never
// become labels.
var secretKeys = []attribute.Key{
	"client", "client_id", "messaging.client.id", "messaging.message.id", "messaging.message.body.size",
	"messaging.rocketmq.message.keys", "messaging.rocketmq.message.group", "receipt_handle", "attempt_id",
	"client.address", "client.port", "network.peer.address", "network.peer.port",
}

// secondsBuckets are the bounds of all durations: from the fsync of a fast disk
// to a timeout.
var secondsBuckets = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
}

// view shapes every stream: which attributes are dropped, and the bounds of
// durations.
func view(i sdk.Instrument) (sdk.Stream, bool) {
	s := sdk.Stream{
		Name: i.Name, Description: i.Description, Unit: i.Unit,
		AttributeFilter: attribute.NewDenyKeysFilter(secretKeys...),
	}
	if i.Kind == sdk.InstrumentKindHistogram && i.Unit == "s" {
		s.Aggregation = sdk.AggregationExplicitBucketHistogram{Boundaries: secondsBuckets}
	}
	return s, true
}

// startMetrics makes the meter provider, with the exporter for /metrics and the
// one that the environment asks for.
func (t *Telemetry) startMetrics(ctx context.Context, res *resource.Resource) error {
	scraped, err := prometheus.New(
		prometheus.WithRegisterer(t.registry),
		prometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		prometheus.WithoutScopeInfo(),
	)
	if err != nil {
		return err
	}
	options := []sdk.Option{
		sdk.WithResource(res), sdk.WithReader(scraped), sdk.WithView(view), sdk.WithCardinalityLimit(SeriesMax),
	}
	if wanted("METRICS") {
		pushed, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return err
		}
		options = append(options, sdk.WithReader(pushed))
		t.exports = true
	}
	p := sdk.NewMeterProvider(options...)
	t.meters = p
	t.closers = append(t.closers, p.Shutdown)
	return nil
}
