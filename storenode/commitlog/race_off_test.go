// SPDX-License-Identifier: Apache-2.0

//go:build !race

package commitlog

const thin = 1
