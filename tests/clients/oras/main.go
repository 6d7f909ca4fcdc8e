// oras is a client of the tests, over the library that the command of that name is made of (the command itself is in
// no module that can be had).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
)

const usage = `usage: oras COMMAND
  resolve REFERENCE [PLATFORM]      print the descriptor
  pull REFERENCE LAYOUT [PLATFORM]  copy an image, or all of an index, into an OCI image layout
  manifest REFERENCE                print the manifest
  blob REFERENCE                    print the blob that the digest of the reference names
  tags REPOSITORY                   print the tags
  repositories HOST                 print the repositories
  discover REFERENCE [TYPE]         print the referrers, as JSON`

var errUsage = errors.New(usage)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string, out io.Writer) error {
	if len(arguments) < 2 || len(arguments) > 4 {
		return errUsage
	}
	command, name, rest := arguments[0], arguments[1], arguments[2:]
	if command == "repositories" {
		host, err := remote.NewRegistry(name)
		if err != nil {
			return err
		}
		host.PlainHTTP = true
		host.HandleWarning = warn
		return host.Repositories(ctx, "", lines(out))
	}
	repository, err := remote.NewRepository(name)
	if err != nil {
		return err
	}
	repository.PlainHTTP = true
	repository.HandleWarning = warn
	reference := repository.Reference.Reference
	if command == "tags" {
		return repository.Tags(ctx, "", lines(out))
	}
	if reference == "" {
		return fmt.Errorf("%s has neither tag nor digest", name)
	}
	switch command {
	case "resolve":
		options := oras.ResolveOptions{}
		if len(rest) > 0 {
			options.TargetPlatform = platform(rest[0])
		}
		descriptor, err := oras.Resolve(ctx, repository, reference, options)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(descriptor)
	case "pull":
		if len(rest) == 0 {
			return errUsage
		}
		layout, err := oci.New(rest[0])
		if err != nil {
			return err
		}
		options := oras.DefaultCopyOptions
		if len(rest) > 1 {
			options.WithTargetPlatform(platform(rest[1]))
		}
		descriptor, err := oras.Copy(ctx, repository, reference, layout, reference, options)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(descriptor)
	case "manifest":
		_, manifest, err := oras.FetchBytes(ctx, repository, reference, oras.DefaultFetchBytesOptions)
		if err != nil {
			return err
		}
		_, err = out.Write(manifest)
		return err
	case "blob":
		return blob(ctx, repository.Blobs(), reference, out)
	case "discover":
		descriptor, err := repository.Resolve(ctx, reference)
		if err != nil {
			return err
		}
		kind := strings.Join(rest, "")
		referrers, err := registry.Referrers(ctx, repository, descriptor, kind)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(append([]ocispec.Descriptor{}, referrers...))
	}
	return errUsage
}

// blob prints a blob after it has found its size, as the command's `blob fetch` does, and checks its digest.
func blob(ctx context.Context, blobs registry.BlobStore, reference string, out io.Writer) error {
	descriptor, err := blobs.Resolve(ctx, reference)
	if err != nil {
		return err
	}
	reader, err := blobs.Fetch(ctx, descriptor)
	if err != nil {
		return err
	}
	defer reader.Close()
	verified := content.NewVerifyReader(reader, descriptor)
	if _, err := io.Copy(out, verified); err != nil {
		return err
	}
	return verified.Verify()
}

// warn shows what a registry says in a Warning header, as the command does. What it says in the body of a 404 the
// library throws away.
func warn(warning remote.Warning) {
	fmt.Fprintln(os.Stderr, "WARNING:", warning.Text)
}

func lines(out io.Writer) func([]string) error {
	return func(page []string) error {
		for _, line := range page {
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		}
		return nil
	}
}

// platform of a text like "linux/arm64".
func platform(text string) *ocispec.Platform {
	system, architecture, _ := strings.Cut(text, "/")
	return &ocispec.Platform{OS: system, Architecture: architecture}
}
