module arpcbench/nbio

go 1.21

require (
	arpcbench/load v0.0.0
	github.com/lesismal/nbio v1.6.7
)

require github.com/HdrHistogram/hdrhistogram-go v1.1.2 // indirect

replace arpcbench/load => ../load
