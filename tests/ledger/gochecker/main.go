// Verifies an unpacked export with Go's own golang.org/x/mod/sumdb/note and tlog.
//
//	gochecker FOLDER VKEY [KEPT-CHECKPOINT]...
//
// It knows two things of its own: where C2SP tlog-tiles puts a tile, and how an entry bundle is
// cut. Everything that is believed comes out of the two packages.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"gochecker/note"
	"gochecker/tlog"
)

const height = 8

func main() {
	if len(os.Args) < 3 {
		fail("usage: gochecker FOLDER VKEY [KEPT-CHECKPOINT]...")
	}
	folder := os.Args[1]
	verifier, err := note.NewVerifier(os.Args[2])
	check(err)
	head := open(filepath.Join(folder, "checkpoint"), verifier)

	leaves := hashEntries(folder, head.N)
	stored := &hashes{}
	for index, leaf := range leaves {
		added, err := tlog.StoredHashesForRecordHash(int64(index), leaf, stored)
		check(err)
		stored.all = append(stored.all, added...)
	}
	root, err := tlog.TreeHash(head.N, stored)
	check(err)
	if root != head.Hash {
		fail("the entries lead to another root")
	}

	// The same again from the served tiles, which the package checks against the signed root.
	served := tlog.TileHashReader(head, &tiles{folder})
	for index := int64(0); index < head.N; index += 1 + head.N/97 {
		proof, err := tlog.ProveRecord(head.N, index, served)
		check(err)
		check(tlog.CheckRecord(proof, head.N, head.Hash, index, leaves[index]))
	}
	for _, file := range os.Args[3:] {
		kept := open(file, verifier)
		proof, err := tlog.ProveTree(head.N, kept.N, served)
		check(err)
		check(tlog.CheckTree(proof, head.N, head.Hash, kept.N, kept.Hash))
	}
	fmt.Printf("%d entries, root %s, %d kept\n", head.N, head.Hash, len(os.Args)-3)
}

func open(file string, verifier note.Verifier) tlog.Tree {
	data, err := os.ReadFile(file)
	check(err)
	opened, err := note.Open(data, note.VerifierList(verifier))
	check(err)
	var origin string
	var size int64
	var encoded string
	_, err = fmt.Sscanf(opened.Text, "%s\n%d\n%s\n", &origin, &size, &encoded)
	check(err)
	root, err := tlog.ParseHash(encoded)
	check(err)
	if origin != verifier.Name() {
		fail("another log's checkpoint")
	}
	return tlog.Tree{N: size, Hash: root}
}

func hashEntries(folder string, size int64) []tlog.Hash {
	var leaves []tlog.Hash
	for start := int64(0); start < size; start += 1 << height {
		width := min(size-start, 1<<height)
		data, err := os.ReadFile(filepath.Join(folder, "tile/entries", place(start>>height, width)))
		check(err)
		for range width {
			length := int(binary.BigEndian.Uint16(data))
			leaves = append(leaves, tlog.RecordHash(data[2:2+length]))
			data = data[2+length:]
		}
		if len(data) != 0 {
			fail("a bundle holds more than its entries")
		}
	}
	return leaves
}

// place names a tile within its level.
func place(number, width int64) string {
	path := fmt.Sprintf("%03d", number%1000)
	for number >= 1000 {
		number /= 1000
		path = fmt.Sprintf("x%03d/%s", number%1000, path)
	}
	if width < 1<<height {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

// hashes keeps what tlog.StoredHashes gives, by its own numbers.
type hashes struct{ all []tlog.Hash }

func (h *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		if index < 0 || index >= int64(len(h.all)) {
			return nil, fmt.Errorf("hash %d is missing", index)
		}
		found = append(found, h.all[index])
	}
	return found, nil
}

// tiles reads tiles from the folder.
type tiles struct{ folder string }

func (t *tiles) Height() int { return height }

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := fmt.Sprintf("tile/%d/%s", tile.L, place(tile.N, int64(tile.W)))
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
