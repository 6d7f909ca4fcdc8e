package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// newPullCommand pulls an image as the kubelet has it pulled: through the CRI, without a pod. It prints the image's
// ID and the seconds that the pull took.
func newPullCommand() *cobra.Command {
	var endpoint string
	var remove bool
	command := &cobra.Command{Use: "cri-pull IMAGE...", Args: cobra.MinimumNArgs(1), RunE: func(command *cobra.Command, images []string) error {
		connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer connection.Close()
		service := runtime.NewImageServiceClient(connection)
		for _, image := range images {
			spec := &runtime.ImageSpec{Image: image}
			if remove {
				if _, err := service.RemoveImage(command.Context(), &runtime.RemoveImageRequest{Image: spec}); err != nil {
					return fmt.Errorf("remove %s: %w", image, err)
				}
				continue
			}
			start := time.Now()
			pulled, err := service.PullImage(command.Context(), &runtime.PullImageRequest{Image: spec})
			if err != nil {
				return fmt.Errorf("pull %s: %w", image, err)
			}
			fmt.Printf("%s %.3f\n", pulled.ImageRef, time.Since(start).Seconds())
		}
		return nil
	}}
	command.Flags().StringVar(&endpoint, "endpoint", "unix:///run/containerd/containerd.sock", "the CRI's socket")
	command.Flags().BoolVar(&remove, "remove", false, "remove the images instead")
	return command
}
