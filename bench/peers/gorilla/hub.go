// A hub on gorilla/websocket, as its chat example has it: a goroutine and a channel for each
// reader. What comes in at /publish goes to everybody at /.
package main

import (
	"bufio"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// Messages that wait for one reader; a reader with more is cut, as in the chat example.
const queueLength = 1024

// hub has the queue of each reader.
type hub struct {
	join     bool // write what waits for a reader in one system call
	prepared bool // build each frame once for all readers
	mutex    sync.Mutex
	queues   map[chan any]struct{}
}

// joinedConn collects writes until flush; what is read is not touched.
type joinedConn struct {
	net.Conn
	buffer *bufio.Writer
}

func (c *joinedConn) Write(data []byte) (int, error) { return c.buffer.Write(data) }

// joinedListener accepts such connections, so that gorilla writes its frames into them.
type joinedListener struct{ net.Listener }

func (l joinedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &joinedConn{c, bufio.NewWriterSize(c, 16<<10)}, nil
}

func (h *hub) add() chan any {
	queue := make(chan any, queueLength)
	h.mutex.Lock()
	h.queues[queue] = struct{}{}
	h.mutex.Unlock()
	return queue
}

func (h *hub) remove(queue chan any) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if _, there := h.queues[queue]; there {
		delete(h.queues, queue)
		close(queue)
	}
}

// broadcast queues a message for every reader.
func (h *hub) broadcast(payload []byte) {
	var message any = payload
	if h.prepared {
		message, _ = websocket.NewPreparedMessage(websocket.TextMessage, payload)
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for queue := range h.queues {
		select {
		case queue <- message:
		default:
			delete(h.queues, queue)
			close(queue)
		}
	}
}

// read serves one reader. Its queue is there before the handshake is answered: the client
// may count on every message from then on.
func (h *hub) read(w http.ResponseWriter, r *http.Request) {
	queue := h.add()
	defer h.remove(queue)
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	flush(c)
	go h.write(c, queue)
	for {
		if _, _, err := c.NextReader(); err != nil {
			return
		}
	}
}

// write sends what is queued; joined connections are flushed when the queue is empty.
func (h *hub) write(c *websocket.Conn, queue chan any) {
	defer c.Close()
	for message := range queue {
		var err error
		if prepared, is := message.(*websocket.PreparedMessage); is {
			err = c.WritePreparedMessage(prepared)
		} else {
			err = c.WriteMessage(websocket.TextMessage, message.([]byte))
		}
		if err == nil && len(queue) == 0 {
			err = flush(c)
		}
		if err != nil {
			return
		}
	}
}

func flush(c *websocket.Conn) error {
	if joined, is := c.UnderlyingConn().(*joinedConn); is {
		return joined.buffer.Flush()
	}
	return nil
}

// publish broadcasts what one client sends.
func (h *hub) publish(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	flush(c)
	for {
		_, payload, err := c.ReadMessage()
		if err != nil {
			return
		}
		h.broadcast(payload)
	}
}
