// An echo and a hub on gorilla/websocket: the reference for conformance and for speed.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, payload, err := c.ReadMessage()
		if err != nil {
			return
		}
		// gorilla leaves this to the application.
		if kind == websocket.TextMessage && !utf8.Valid(payload) {
			invalid := websocket.FormatCloseMessage(websocket.CloseInvalidFramePayloadData, "")
			c.WriteMessage(websocket.CloseMessage, invalid)
			return
		}
		if c.WriteMessage(kind, payload) != nil {
			return
		}
	}
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	join := flag.Bool("join", false, "the hub writes what waits for a reader at once")
	prepared := flag.Bool("prepared", false, "the hub builds each frame once for all")
	flag.Parse()
	h := &hub{join: *join, prepared: *prepared, queues: map[chan any]struct{}{}}
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/publish", h.publish)
	http.HandleFunc("/", h.read)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if *join {
		listener = joinedListener{listener}
	}
	log.Fatal(http.Serve(listener, nil))
}
