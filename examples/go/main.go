// Go's own HTTP client: go run main.go BASE_URL TEXT... prints the version, its space and the vectors as JSON.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

type request struct {
	Model string   `json:"model"`
	Input []string `json:"input"`
}

type reply struct {
	Data []struct {
		Embedding []float32 `json:"embedding"`
	} `json:"data"`
}

func embed(client *http.Client, base string, texts []string) ([][]float32, http.Header, error) {
	body, err := json.Marshal(request{Model: "stable", Input: texts})
	if err != nil {
		return nil, nil, err
	}
	call, err := http.NewRequest(http.MethodPost, base+"/v1/embeddings", bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	call.Header.Set("content-type", "application/json")
	if token := os.Getenv("MUNJANG_TOKEN"); token != "" {
		call.Header.Set("authorization", "Bearer "+token)
	}
	answer, err := client.Do(call)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(answer.Body)
		return nil, nil, fmt.Errorf("%s: %s", answer.Status, reason)
	}
	var found reply
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return nil, nil, err
	}
	vectors := make([][]float32, len(found.Data))
	for i, item := range found.Data {
		vectors[i] = item.Embedding
	}
	return vectors, answer.Header, nil
}

func main() {
	client := &http.Client{Timeout: 30 * time.Second}
	vectors, header, err := embed(client, os.Args[1], os.Args[2:])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.Get("x-munjang-version"))
	fmt.Println(header.Get("x-munjang-space"))
	json.NewEncoder(os.Stdout).Encode(vectors)
}
