// The sampling arithmetic of the OpenTelemetry Collector, as an oracle. In: lines `ratio R`, `keeps TH RV` and
// `tracestate VALUE`. Out: for each a line: the threshold of a ratio at the collector's precision, whether a threshold
// keeps a randomness, or the threshold and randomness of an `ot` value; `error` where the collector refuses it.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/sampling"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		answer, err := answer(verb, rest)
		if err != nil {
			answer = "error"
		}
		fmt.Println(answer)
	}
}

func answer(verb, rest string) (string, error) {
	switch verb {
	case "ratio":
		ratio, err := strconv.ParseFloat(rest, 64)
		if err != nil {
			return "", err
		}
		threshold, err := sampling.ProbabilityToThresholdWithPrecision(ratio, 4)
		return threshold.TValue(), err
	case "keeps":
		th, rv, _ := strings.Cut(rest, " ")
		threshold, err := sampling.TValueToThreshold(th)
		if err != nil {
			return "", err
		}
		randomness, err := sampling.RValueToRandomness(rv)
		return strconv.FormatBool(threshold.ShouldSample(randomness)), err
	case "tracestate":
		state, err := sampling.NewOpenTelemetryTraceState(rest)
		return fmt.Sprintf("th=%s rv=%s", state.TValue(), state.RValue()), err
	}
	return "", fmt.Errorf("no verb %q", verb)
}
