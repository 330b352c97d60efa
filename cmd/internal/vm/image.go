package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// recipe is what the Debian image is made of: lists of packages and units, and files for its root.
//
//go:embed all:debian
var recipe embed.FS

const (
	suite     = "bookworm"
	mirror    = "http://deb.debian.org/"
	imageSize = "1200M" // sparse; about a quarter of it is used
	// recipeEdition changes the name of the image where the code below changes what is in it.
	recipeEdition = "1"
)

// Debian makes a disk image of a small Debian with systemd and the modules of the kernel below cache, unless
// there is one by the same recipe already.
func Debian(ctx context.Context, cache string, k Kernel, progress func(string)) (string, error) {
	key, err := recipeKey(k)
	if err != nil {
		return "", err
	}
	image := filepath.Join(cache, "debian-"+key+".ext4")
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	if err := makers(); err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(cache, "debian-*.ext4"))
	if err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, ".debian-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	progress("making the Debian image, which takes a minute or two; it is kept in " + cache)
	if err := makeImage(ctx, tmp, k); err != nil {
		return "", err
	}
	for _, o := range old {
		if err := os.Remove(o); err != nil {
			return "", err
		}
	}
	return image, os.Rename(filepath.Join(tmp, "image"), image)
}

// recipeKey names an image by all that it is made of.
func recipeKey(k Kernel) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, recipeEdition, suite, mirror, imageSize, k.Version)
	err := fs.WalkDir(recipe, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := recipe.ReadFile(name)
		fmt.Fprintf(sum, "%s %d\n%s", name, len(raw), raw)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil))[:16], err
}

// makers looks for the programs and the rights that making an image takes.
func makers() error {
	for program, pkg := range map[string]string{"mmdebstrap": "mmdebstrap", "mkfs.ext4": "e2fsprogs", "depmod": "kmod"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: there is no %s (apt-get install %s)", ErrMissing, program, pkg)
		}
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: making the Debian image takes root, for the owners of its files; "+
			"once root has made it, anybody may boot it", ErrMissing)
	}
	return nil
}

func makeImage(ctx context.Context, tmp string, k Kernel) error {
	root := filepath.Join(tmp, "root")
	if err := bootstrap(ctx, root); err != nil {
		return err
	}
	if err := layRecipe(root); err != nil {
		return err
	}
	for _, step := range [][]string{
		{"cp", "-a", k.Modules, filepath.Join(root, "usr/lib/modules")},
		{"depmod", "-b", root, k.Version},
		append([]string{"chroot", root, "systemctl", "enable"}, listed("enabled")...),
		append([]string{"chroot", root, "systemctl", "disable"}, listed("disabled")...),
		append([]string{"chroot", root, "systemctl", "mask"}, listed("masked")...),
		{"truncate", "-s", imageSize, filepath.Join(tmp, "image")},
		{"mkfs.ext4", "-q", "-d", root, "-E", "root_owner=0:0,lazy_itable_init=1", filepath.Join(tmp, "image")},
	} {
		if err := quietly(ctx, step...); err != nil {
			return err
		}
	}
	return nil
}

// bootstrap installs the packages into an empty folder. A mirror that cannot be reached is no fault of ours.
func bootstrap(ctx context.Context, root string) error {
	argv := []string{
		"mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
		"--include=" + strings.Join(listed("packages"), ","),
		`--aptopt=Acquire::Languages "none"`, `--aptopt=APT::Install-Recommends "false"`,
	}
	for _, kind := range []string{"doc", "man", "locale", "info"} {
		argv = append(argv, "--dpkgopt=path-exclude=/usr/share/"+kind+"/*")
	}
	argv = append(argv, suite, root)
	for _, source := range []string{"debian " + suite, "debian " + suite + "-updates", "debian-security " + suite + "-security"} {
		argv = append(argv, "deb "+mirror+source+" main")
	}
	if err := quietly(ctx, argv...); err != nil {
		return fmt.Errorf("%w: %v", ErrMissing, err)
	}
	return nil
}

// layRecipe puts the files of the recipe over the root, and what every image needs empty.
func layRecipe(root string) error {
	files, err := fs.Sub(recipe, "debian/root")
	if err != nil {
		return err
	}
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(filepath.Join(root, name), 0o755))
		}
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(root, name), raw, 0o644)
	})
	if err != nil {
		return fmt.Errorf("lay the recipe over the image: %v", err)
	}
	for _, dir := range []string{"payload", "var/lib/hand", "usr/lib/modules"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(root, "etc/machine-id"), nil, 0o444) // made at the first boot
}

// listed reads one of the recipe's lists, one word a line.
func listed(name string) []string {
	raw, err := recipe.ReadFile(path.Join("debian", name))
	if err != nil {
		return nil
	}
	return strings.Fields(string(raw))
}

// quietly runs a command whose output only matters if it fails.
func quietly(ctx context.Context, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %v\n%s", argv[0], err, bytes.TrimSpace(out))
	}
	return nil
}
