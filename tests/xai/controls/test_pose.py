"""Side and pole of an eye on its image."""

import numpy as np

from xai.controls.pose import find_poses

SIZE = 100


def images(n):
    planes = np.zeros((n, 4, SIZE, SIZE), np.uint8)
    planes[:, 3, 10:90, 20:80] = 255
    return planes, np.zeros((n, SIZE, SIZE), np.uint8)


def test_without_a_disc_the_pole_is_the_middle_of_the_field_of_view():
    planes, disc = images(2)
    for given in (None, disc):
        poses = find_poses(planes, ["left", None], given)
        np.testing.assert_array_equal(poses.pole, [[49.5, 49.5]] * 2)
        assert poses.side.tolist() == [-1, 0]
        assert not poses.disc.any()


def test_the_pole_is_the_middle_of_the_disc_on_the_image_as_a_right_eyes():
    planes, disc = images(3)
    disc[:, 40:45, 70:73] = 255
    poses = find_poses(planes, ["right", "left", None], disc)
    np.testing.assert_allclose(poses.pole, [[42, 71], [42, 99 - 71], [42, 71]])
    assert poses.side.tolist() == [1, -1, 1], "a disc on the right is of a right eye"
    left = find_poses(planes[:, :, :, ::-1], None, disc[:, :, ::-1])
    np.testing.assert_allclose(left.pole, poses.pole[[0, 0, 0]])
    assert left.side.tolist() == [-1] * 3


def test_a_disc_in_the_middle_does_not_show_the_side():
    planes, disc = images(1)
    disc[:, 48:52, 50:56] = 255
    assert find_poses(planes, None, disc).side.tolist() == [0]


def test_where_some_lack_a_disc_they_take_the_mean_place_of_the_others():
    planes, disc = images(3)
    disc[0, 40, 70], disc[1, 50, 80] = 255, 255
    poses = find_poses(planes, ["right", "right", "left"], disc)
    np.testing.assert_allclose(poses.pole[2], [45, 75])
    assert poses.disc.tolist() == [True, True, False]


def test_left_eyes_are_mirrored():
    planes, _ = images(2)
    planes[:, 0, 0, 0] = 255
    laid = find_poses(planes, ["left", "right"], None).as_right(planes[:, 0], slice(0, 2))
    assert [int(plane[0].argmax()) for plane in laid] == [SIZE - 1, 0]


def test_an_image_without_a_field_of_view_has_a_pole():
    np.testing.assert_allclose(find_poses(np.zeros((1, 4, 10, 20), np.uint8), None, None).pole, [[4.5, 9.5]])
