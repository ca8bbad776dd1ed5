// Runs the Go program of docs/clients.md by the protocol of ../program.ts. It is the package guide/client.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"

	"guide/client"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var count int
		var rejected string
		fmt.Sscan(lines.Text(), &count, &rejected)
		if rejected == "-" {
			rejected = ""
		}
		results := make([]string, count)
		var all sync.WaitGroup
		for index := range results {
			all.Add(1)
			go func(index int) {
				defer all.Done()
				token, err := client.AccessToken(rejected)
				if err != nil {
					token = strings.Join(strings.Fields("error: "+err.Error()), " ")
				}
				results[index] = token
			}(index)
		}
		all.Wait()
		fmt.Println(strings.Join(results, "\t"))
	}
}
