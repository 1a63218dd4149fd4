// The application of the cluster tests, and their client. It knows no tracing: all that it does for a trace is to copy
// the headers of a request to its own calls, as every mesh asks its applications to.
//
// Served on $PORT, it answers with what it received, and with what $UPSTREAM answered, if that is set; /status/CODE
// answers with that code, /wait/DURATION after that time. Called as `get URL`, it asks and tells in JSON what came back.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What carries a trace or belongs to it, in the formats that meshes know.
var carried = []string{
	"traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled",
	"x-b3-flags", "x-request-id", "uber-trace-id", "x-amzn-trace-id",
}

type answer struct {
	Service  string      `json:"service"`
	Path     string      `json:"path"`
	Headers  http.Header `json:"headers"`
	Upstream *answer     `json:"upstream,omitempty"`
	Error    string      `json:"error,omitempty"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "get" {
		get(os.Args[2:])
		return
	}
	http.HandleFunc("/", serve)
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "8080"), nil))
	os.Exit(1)
}

func serve(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	said := answer{Service: os.Getenv("OTEL_SERVICE_NAME"), Path: r.URL.RequestURI(), Headers: r.Header}
	if code, ok := strings.CutPrefix(r.URL.Path, "/status/"); ok {
		if number, err := strconv.Atoi(code); err == nil && number >= 200 && number < 600 {
			status = number
		}
	}
	if wait, ok := strings.CutPrefix(r.URL.Path, "/wait/"); ok {
		if duration, err := time.ParseDuration(wait); err == nil && duration < time.Minute {
			time.Sleep(duration)
		}
	}
	if upstream := os.Getenv("UPSTREAM"); upstream != "" {
		said.Upstream = call(upstream+r.URL.RequestURI(), r.Header)
	}
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(said)
}

func call(url string, headers http.Header) *answer {
	var said answer
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return &answer{Error: err.Error()}
	}
	for _, name := range carried {
		for _, value := range headers.Values(name) {
			request.Header.Add(name, value)
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return &answer{Error: err.Error()}
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		said.Error = fmt.Sprintf("%s: %v", response.Status, err)
	}
	return &said
}

// What a run of requests came to.
type result struct {
	Requests int            `json:"requests"`
	Statuses map[string]int `json:"statuses"`
	Errors   map[string]int `json:"errors"`
	Seconds  float64        `json:"seconds"`
	Last     string         `json:"last"`
}

type pairs []string

func (p *pairs) String() string     { return strings.Join(*p, ", ") }
func (p *pairs) Set(s string) error { *p = append(*p, s); return nil }

func get(args []string) {
	flags := flag.NewFlagSet("get", flag.ExitOnError)
	var headers pairs
	flags.Var(&headers, "H", "a header, name: value; may be given more than once")
	method := flags.String("X", http.MethodGet, "method")
	body := flags.String("d", "", "body")
	requests := flags.Int("n", 1, "requests")
	clients := flags.Int("c", 1, "clients at once")
	duration := flags.Duration("t", 0, "ask for this long instead of a number of times")
	pause := flags.Duration("p", 0, "pause of each client between two requests")
	_ = flags.Parse(args)

	total := result{Statuses: map[string]int{}, Errors: map[string]int{}}
	client := http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: *clients}}
	var lock sync.Mutex
	begun := time.Now()
	take := func() bool {
		lock.Lock()
		defer lock.Unlock()
		if *duration > 0 && time.Since(begun) > *duration || *duration == 0 && total.Requests >= *requests {
			return false
		}
		total.Requests++
		return true
	}
	var all sync.WaitGroup
	for range *clients {
		all.Go(func() {
			for take() {
				status, text, err := ask(&client, *method, flags.Arg(0), *body, headers)
				lock.Lock()
				if err != nil {
					total.Errors[err.Error()]++
				} else {
					total.Statuses[strconv.Itoa(status)]++
					total.Last = text
				}
				lock.Unlock()
				time.Sleep(*pause)
			}
		})
	}
	all.Wait()
	total.Seconds = time.Since(begun).Seconds()
	_ = json.NewEncoder(os.Stdout).Encode(total)
}

func ask(client *http.Client, method, url, body string, headers []string) (int, string, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		if strings.EqualFold(name, "host") {
			request.Host = strings.TrimSpace(value)
			continue
		}
		request.Header.Add(name, strings.TrimSpace(value))
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, string(text), err
}
