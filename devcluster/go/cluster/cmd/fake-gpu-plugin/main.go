// Command fake-gpu-plugin offers GPUs that do not exist, through the kubelet's own device plugin interface (v1beta1).
//
// The scheduler and the kubelet then count, reserve and refuse nvidia.com/gpu as they do on a machine with cards. The
// socket stands in the kubelet's plugins_registry: the kubelet finds it there and asks, also after a restart of its own,
// so the plugin needs to watch nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	deviceplugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// plugin answers the kubelet: which devices there are, and what a container that holds some of them gets to see.
type plugin struct {
	deviceplugin.UnimplementedDevicePluginServer
	registration.UnimplementedRegistrationServer
	resource string
	socket   string
	devices  []*deviceplugin.Device
	done     <-chan struct{}
}

func main() {
	resource := flag.String("resource", "nvidia.com/gpu", "extended resource to offer")
	count := flag.Int("count", 8, "devices to offer")
	socket := flag.String("socket", "", "path of the socket, in the kubelet's plugins_registry")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *resource, *count, *socket); err != nil {
		log.Fatal(err)
	}
}

// serve listens on socket until ctx ends.
func serve(ctx context.Context, resource string, count int, socket string) error {
	// A killed plugin leaves its socket behind, and a socket cannot be bound twice.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	p := &plugin{resource: resource, socket: socket, devices: devices(count), done: ctx.Done()}
	server := grpc.NewServer()
	deviceplugin.RegisterDevicePluginServer(server, p)
	registration.RegisterRegistrationServer(server, p)
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	log.Printf("offering %d %s on %s", count, resource, socket)
	return server.Serve(listener)
}

// devices names count healthy devices the way NVIDIA's plugin does: GPU-<uuid>.
func devices(count int) []*deviceplugin.Device {
	all := make([]*deviceplugin.Device, count)
	for i := range all {
		id := fmt.Sprintf("GPU-00000000-0000-0000-0000-%012d", i)
		all[i] = &deviceplugin.Device{ID: id, Health: deviceplugin.Healthy}
	}
	return all
}

// GetInfo tells the kubelet's plugin manager what stands behind the socket it found.
func (p *plugin) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.DevicePlugin,
		Name:              p.resource,
		Endpoint:          p.socket,
		SupportedVersions: []string{deviceplugin.Version},
	}, nil
}

// NotifyRegistrationStatus logs what the kubelet made of GetInfo.
func (p *plugin) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if status.PluginRegistered {
		log.Printf("the kubelet registered %s", p.resource)
	} else {
		log.Printf("the kubelet refused %s: %s", p.resource, status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

// GetDevicePluginOptions asks for nothing beyond Allocate.
func (p *plugin) GetDevicePluginOptions(
	context.Context, *deviceplugin.Empty,
) (*deviceplugin.DevicePluginOptions, error) {
	return &deviceplugin.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices once, and keeps the stream open: to the kubelet, its end means that they are gone.
func (p *plugin) ListAndWatch(
	_ *deviceplugin.Empty, stream grpc.ServerStreamingServer[deviceplugin.ListAndWatchResponse],
) error {
	if err := stream.Send(&deviceplugin.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
	case <-p.done:
	}
	return nil
}

// Allocate sets NVIDIA_VISIBLE_DEVICES, as NVIDIA's plugin does; there is no device file to mount.
func (p *plugin) Allocate(
	_ context.Context, request *deviceplugin.AllocateRequest,
) (*deviceplugin.AllocateResponse, error) {
	response := &deviceplugin.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		visible := map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(container.DevicesIds, ",")}
		response.ContainerResponses = append(
			response.ContainerResponses, &deviceplugin.ContainerAllocateResponse{Envs: visible},
		)
	}
	return response, nil
}
