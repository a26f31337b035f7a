// Checks logs and proofs of the appliance with the Go project's own packages: golang.org/x/mod/sumdb/tlog and note.
//
//	golog log VKEY DIRECTORY            every entry, tile and the checkpoint of a log directory
//	golog proof VKEY PROOF ENTRY        one C2SP tlog-proof
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 3 && arguments[0] == "log":
		return checkLog(arguments[1], arguments[2])
	case len(arguments) == 4 && arguments[0] == "proof":
		return checkProof(arguments[1], arguments[2], arguments[3])
	}
	return errors.New("usage: golog log VKEY DIRECTORY | golog proof VKEY PROOF ENTRY")
}

// openCheckpoint verifies a signed checkpoint and returns its tree.
func openCheckpoint(vkey string, octets []byte) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(octets, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not three lines, or another origin")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// tiles reads C2SP tlog-tiles from a directory; golang.org/x/mod names them in an older way.
type tiles struct{ directory string }

func (t tiles) Height() int { return 8 }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range wanted {
		// tile/8/0/x001/234.p/5 there is tile/0/x001/234.p/5 here.
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		octets, err := os.ReadFile(filepath.Join(t.directory, path))
		if err != nil {
			return nil, err
		}
		read = append(read, octets)
	}
	return read, nil
}

func checkLog(vkey, directory string) error {
	octets, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(vkey, octets)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, tiles{directory})
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return errors.New("the tiles have another root")
	}
	for index := int64(0); index < tree.N; {
		path := tlog.Tile{H: 8, L: 0, N: index / 256, W: int(min(256, tree.N-index))}.Path()
		path = "tile/entries/" + strings.TrimPrefix(path, "tile/8/0/")
		bundle, err := os.ReadFile(filepath.Join(directory, path))
		if err != nil {
			return err
		}
		for len(bundle) > 0 {
			length := int(binary.BigEndian.Uint16(bundle))
			leaf := tlog.RecordHash(bundle[2 : 2+length])
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			if err != nil {
				return err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			bundle = bundle[2+length:]
			index++
		}
	}
	fmt.Println(tree.N)
	return nil
}

func checkProof(vkey, proofFile, entryFile string) error {
	octets, err := os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return err
	}
	head, checkpoint, found := strings.Cut(string(octets), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return errors.New("not a hash")
		}
		proof = append(proof, tlog.Hash(hash))
	}
	tree, err := openCheckpoint(vkey, []byte(checkpoint))
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}
