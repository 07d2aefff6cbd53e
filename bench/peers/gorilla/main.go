// An echo on gorilla/websocket: the reference for conformance and for speed.
package main

import (
	"flag"
	"log"
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
	flag.Parse()
	http.HandleFunc("/echo", echo)
	log.Fatal(http.ListenAndServe(*addr, nil))
}
