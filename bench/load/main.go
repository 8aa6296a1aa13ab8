// Command load sends prepared HTTP/1.1 requests over many connections and measures the answers.
//
// It exists because a load generator in Python would be the bottleneck of what it measures: this
// one needs about a tenth of a core for ten thousand requests a second. Standard library only, and
// of HTTP only what the service speaks: keep-alive, Content-Length, chunked answers.
//
//	load PLAN.json
//
// A plan names the address, the number of clients, the file of requests (a JSON object a line: m
// method, p path, h headers, b body) and how long to go on. Closed loop: each client sends its next
// request when it has its answer. Open loop (rate above 0): requests are due at fixed times
// whatever becomes of those before, as when the callers are many and know nothing of each other.
// What was measured is printed as one JSON object; answers are written where the plan says.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type plan struct {
	Address  string            `json:"address"`
	Clients  int               `json:"clients"`
	Seconds  float64           `json:"seconds"`  // how long is measured
	Warm     float64           `json:"warm"`     // seconds before, which are not measured
	Rate     float64           `json:"rate"`     // requests a second in all; 0 for a closed loop
	Timeout  float64           `json:"timeout"`  // seconds after which an answer is given up
	Cycle    bool              `json:"cycle"`    // begin anew when the requests are used up
	Requests string            `json:"requests"` // file
	Answers  string            `json:"answers"`  // file, or empty to keep none
	Common   map[string]string `json:"common"`   // headers of every request
}

type request struct {
	Method string            `json:"m"`
	Path   string            `json:"p"`
	Header map[string]string `json:"h"`
	Body   string            `json:"b"`
}

type sample struct {
	at      time.Duration // when it was sent, from the begin of the measurement
	took    time.Duration
	status  int // 0: no answer
	request int
}

// How long a client keeps a connection.
const reconnect = 250 * time.Millisecond

type client struct {
	opened  time.Time
	samples []sample
	answers []byte
	errors  map[string]int
	conn    net.Conn
	reader  *bufio.Reader
	unsaid  int // measured 503 and 429 without Retry-After
	said    bool
}

type second struct {
	Good   int     `json:"good"`
	Shed   int     `json:"shed"`
	Failed int     `json:"failed"`
	P99    float64 `json:"p99_ms"`
}

type report struct {
	Clients    int                `json:"clients"`
	Seconds    float64            `json:"seconds"`
	Requests   int                `json:"requests"`
	Good       int                `json:"good"`
	PerSecond  float64            `json:"good_per_second"`
	Statuses   map[string]int     `json:"statuses"`
	Unsaid     int                `json:"without_retry_after"`
	Errors     map[string]int     `json:"errors"`
	Exhausted  bool               `json:"exhausted"` // the requests were used up before the time
	Millis     map[string]float64 `json:"ms"`        // of good answers
	ShedMillis map[string]float64 `json:"shed_ms"`   // of 503 and 429
	Timeline   []second           `json:"timeline"`
	CPUSeconds float64            `json:"cpu_seconds"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: load PLAN.json")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	p := plan{Timeout: 30}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	prepared, err := prepare(p)
	if err != nil {
		return err
	}
	// It needs a fifth of one core at most. With a thread for each core, on a machine that is fully
	// used, answers lay unread for a tenth of a second while those threads waited for their turn, in
	// every seventh run of masked reads (26 of 177, and none of 64 with one).
	runtime.GOMAXPROCS(1)
	runtime.GC()
	clients := make([]*client, p.Clients)
	var group sync.WaitGroup
	var next atomic.Int64
	begin := time.Now().Add(time.Duration(p.Warm * float64(time.Second)))
	end := begin.Add(time.Duration(p.Seconds * float64(time.Second)))
	started := time.Now()
	var exhausted atomic.Bool
	for index := range clients {
		one := &client{errors: map[string]int{}, samples: make([]sample, 0, 4096)}
		clients[index] = one
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				turn := int(next.Add(1) - 1)
				if turn >= len(prepared) && !p.Cycle {
					exhausted.Store(true)
					break
				}
				if p.Rate > 0 {
					due := started.Add(time.Duration(float64(turn) / p.Rate * float64(time.Second)))
					if due.After(end) {
						break
					}
					time.Sleep(time.Until(due))
				}
				now := time.Now()
				if now.After(end) {
					break
				}
				one.do(p, prepared, turn%len(prepared), now, begin)
			}
			if one.conn != nil {
				one.conn.Close()
			}
		}()
	}
	group.Wait()
	// What was begun in time counts, and so does the time until the last of it was answered.
	return tell(p, clients, time.Since(begin), exhausted.Load())
}

func prepare(p plan) ([][]byte, error) {
	file, err := os.Open(p.Requests)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var common strings.Builder
	for name, value := range p.Common {
		fmt.Fprintf(&common, "%s: %s\r\n", name, value)
	}
	var prepared [][]byte
	lines := json.NewDecoder(bufio.NewReaderSize(file, 1<<20))
	for {
		var r request
		err := lines.Decode(&r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", r.Method, r.Path, p.Address, common.String())
		for name, value := range r.Header {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
		if r.Body != "" || r.Method == "POST" {
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
		}
		b.WriteString("\r\n")
		b.WriteString(r.Body)
		prepared = append(prepared, []byte(b.String()))
	}
	if len(prepared) == 0 {
		return nil, errors.New("there are no requests")
	}
	return prepared, nil
}

func (c *client) do(p plan, prepared [][]byte, turn int, now, begin time.Time) {
	status, body, err := c.exchange(p, prepared[turn])
	took := time.Since(now)
	at := now.Sub(begin)
	if err != nil {
		if c.conn != nil {
			c.conn.Close()
			c.conn = nil
		}
		c.errors[kind(err)]++
	}
	if p.Answers != "" {
		c.answers = append(c.answers, strconv.Itoa(turn)...)
		c.answers = append(c.answers, '\t')
		c.answers = append(c.answers, strconv.Itoa(status)...)
		c.answers = append(c.answers, '\t')
		c.answers = append(c.answers, body...)
		c.answers = append(c.answers, '\n')
	}
	if at >= 0 {
		if (status == 503 || status == 429) && !c.said {
			c.unsaid++
		}
		c.samples = append(c.samples, sample{at: at, took: took, status: status, request: turn})
	}
}

func kind(err error) string {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	default:
		return err.Error()
	}
}

func (c *client) exchange(p plan, raw []byte) (int, []byte, error) {
	patience := time.Duration(p.Timeout * float64(time.Second))
	// The kernel spreads connections over the service's processes by chance, once for each of them:
	// without new ones a run would measure how lucky it was.
	if c.conn != nil && time.Since(c.opened) > reconnect {
		c.conn.Close()
		c.conn = nil
	}
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", p.Address, patience)
		if err != nil {
			return 0, nil, err
		}
		c.opened = time.Now()
		c.conn, c.reader = conn, bufio.NewReaderSize(conn, 16<<10)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	if _, err := c.conn.Write(raw); err != nil {
		return 0, nil, err
	}
	return c.answer()
}

func (c *client) answer() (int, []byte, error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, errors.New("no status line")
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, nil, err
	}
	length, chunked, closes := 0, false, false
	c.said = false
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := strings.Cut(string(line), ":")
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, nil, err
			}
		case "transfer-encoding":
			chunked = strings.TrimSpace(value) == "chunked"
		case "connection":
			closes = strings.EqualFold(strings.TrimSpace(value), "close")
		case "retry-after":
			c.said = true
		}
	}
	body, err := c.body(length, chunked)
	if closes && c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
	return status, body, err
}

func (c *client) body(length int, chunked bool) ([]byte, error) {
	if !chunked {
		body := make([]byte, length)
		_, err := io.ReadFull(c.reader, body)
		return body, err
	}
	var body []byte
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(line)), 16, 32)
		if err != nil {
			return nil, err
		}
		part := make([]byte, size+2)
		if _, err := io.ReadFull(c.reader, part); err != nil {
			return nil, err
		}
		if size == 0 {
			return body, nil
		}
		body = append(body, part[:size]...)
	}
}

func tell(p plan, clients []*client, length time.Duration, exhausted bool) error {
	r := report{
		Clients: p.Clients, Seconds: length.Seconds(), Exhausted: exhausted,
		Statuses: map[string]int{}, Errors: map[string]int{},
	}
	var good, shed []float64
	seconds := make([]second, int(p.Seconds)+1)
	byTime := make([][]float64, len(seconds))
	for _, c := range clients {
		r.Unsaid += c.unsaid
		for name, count := range c.errors {
			r.Errors[name] += count
		}
		for _, s := range c.samples {
			r.Requests++
			r.Statuses[strconv.Itoa(s.status)]++
			millis := float64(s.took) / float64(time.Millisecond)
			slot := min(int((s.at + s.took).Seconds()), len(seconds)-1)
			switch {
			case s.status >= 200 && s.status < 300:
				good = append(good, millis)
				byTime[slot] = append(byTime[slot], millis)
				seconds[slot].Good++
			case s.status == 503 || s.status == 429:
				shed = append(shed, millis)
				seconds[slot].Shed++
			default:
				seconds[slot].Failed++
			}
		}
	}
	for slot := range seconds {
		seconds[slot].P99 = quantiles(byTime[slot])["p99"]
	}
	r.Good, r.PerSecond = len(good), float64(len(good))/length.Seconds()
	r.Millis, r.ShedMillis, r.Timeline = quantiles(good), quantiles(shed), seconds
	r.CPUSeconds = cpu()
	if p.Answers != "" {
		file, err := os.OpenFile(p.Answers, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		for _, c := range clients {
			if _, err := file.Write(c.answers); err != nil {
				return err
			}
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func quantiles(all []float64) map[string]float64 {
	if len(all) == 0 {
		return nil
	}
	sort.Float64s(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1))] }
	sum := 0.0
	for _, each := range all {
		sum += each
	}
	return map[string]float64{
		"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": all[len(all)-1],
		"mean": sum / float64(len(all)),
	}
}
