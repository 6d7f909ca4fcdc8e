package main

import (
	"net/url"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// newEtcdCommand runs a single-member etcd. It doesn't fsync: the data is a test's, and doesn't outlive the machine.
func newEtcdCommand() *cobra.Command {
	config := embed.NewConfig()
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	var client, peer string
	command := &cobra.Command{Use: "etcd", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		clientURL, err := url.Parse(client)
		if err != nil {
			return err
		}
		peerURL, err := url.Parse(peer)
		if err != nil {
			return err
		}
		config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
		config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
		config.InitialCluster = config.InitialClusterFromName(config.Name)
		server, err := embed.StartEtcd(config)
		if err != nil {
			return err
		}
		return <-server.Err()
	}}
	command.Flags().StringVar(&config.Dir, "data-dir", "etcd-data", "where the data lies")
	command.Flags().StringVar(&client, "listen-client", "http://127.0.0.1:2379", "client URL")
	command.Flags().StringVar(&peer, "listen-peer", "http://127.0.0.1:2380", "peer URL")
	return command
}
