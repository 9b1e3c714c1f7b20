module arpcbench/arpc

go 1.19

require (
	arpcbench/hello v0.0.0
	arpcbench/load v0.0.0
	github.com/lesismal/arpc v1.2.17
	google.golang.org/protobuf v1.34.1
)

require github.com/HdrHistogram/hdrhistogram-go v1.1.2 // indirect

replace arpcbench/hello => ../hello

replace arpcbench/load => ../load
